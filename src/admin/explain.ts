/** What the policy makes of a set of selectors. */
export interface MatchSources {
  readonly selectors: readonly string[];
  /** In the policy's order; the first one is the default. */
  readonly identities: readonly {
    readonly id: string;
    readonly priority: number;
    readonly source: string;
  }[];
  readonly verdicts: readonly Verdict[];
  /** Entries that are nearly as near as those of the verdicts. */
  readonly missingNotShown: number;
}

/** What `/explain` is made of: a process as attested now, and what the policy makes of it. */
export interface ExplainSources extends MatchSources {
  readonly pid: number;
  /** When the process began, in clock ticks since the system did. */
  readonly startTicks: number;
  readonly credentials: { readonly uid: number; readonly gid: number };
  /** How it is connected, and the way from there to its selectors, as far as there is one. */
  readonly steps: readonly StepView[];
  /** Why it is not attested; then nothing is matched. */
  readonly refusal: string | undefined;
}

interface StepView {
  readonly name: string;
  readonly text: string;
}

/** What the document of a pod is made of: its containers, and what the policy makes of each. */
export interface ExplainPodSources {
  /** How old what is known is, in words. */
  readonly known: string;
  readonly pods: readonly {
    readonly namespace: string;
    readonly name: string;
    readonly uid: string;
    readonly serviceAccount: string;
    readonly containers: readonly (MatchSources & {
      readonly name: string;
      readonly kind: string;
      readonly id: string;
      readonly image: string;
      /** Why its processes are not attested; then nothing is matched. */
      readonly refusal: string | undefined;
    })[];
  }[];
}

/** What became of an entry that gives the process an identity, or nearly does. */
type Verdict = { readonly entry: EntryView } & (
  | { readonly kind: 'applies'; readonly id: string }
  | { readonly kind: 'shadowed'; readonly id: string; readonly by: string }
  | { readonly kind: 'placeholder' | 'undecided'; readonly reason: string }
  | {
      readonly kind: 'missing';
      readonly missing: readonly string[];
      /** Why no process gets further. */
      readonly findings: readonly string[];
    }
);

interface EntryView {
  readonly spiffeId: string;
  readonly selectors: readonly string[];
  readonly priority: number;
  readonly source: string;
}

/** The document of `/explain?pid=N`. */
export function explainDocument(from: ExplainSources): object {
  const { pid, startTicks, credentials, steps, refusal } = from;
  return {
    pid,
    start_ticks: startTicks,
    uid: credentials.uid,
    gid: credentials.gid,
    steps: steps.map(({ name, text }) => ({ step: name, text })),
    refusal: refusal ?? null,
    ...matchDocument(from),
  };
}

/** The document of `/explain?pod=NS/NAME`. */
export function podDocument({ known, pods }: ExplainPodSources): object {
  return {
    known,
    pods: pods.map(({ namespace, name, uid, serviceAccount, containers }) => ({
      ...{ namespace, name, uid },
      service_account: serviceAccount,
      containers: containers.map((container) => ({
        ...{ name: container.name, kind: container.kind, id: container.id },
        image: container.image,
        refusal: container.refusal ?? null,
        ...matchDocument(container),
      })),
    })),
  };
}

/** The document of `/explain?selectors=a,b`, of a process that need not exist. */
export function matchDocument(from: MatchSources): object {
  const { selectors, identities, verdicts, missingNotShown } = from;
  return {
    selectors,
    identities: identities.map(({ id, priority, source }, index) => ({
      spiffe_id: id,
      default: index === 0,
      priority,
      source,
    })),
    entries: verdicts.map(entryView),
    missing_not_shown: missingNotShown,
  };
}

function entryView(verdict: Verdict): unknown {
  const { kind, entry } = verdict;
  return {
    verdict: kind,
    // As written: it may hold placeholders.
    spiffe_id: entry.spiffeId,
    selectors: entry.selectors,
    priority: entry.priority,
    source: entry.source,
    ...(kind === 'applies' || kind === 'shadowed' ? { gives: verdict.id } : {}),
    ...(kind === 'shadowed' ? { shadowed_by: verdict.by } : {}),
    ...(kind === 'placeholder' || kind === 'undecided' ? { reason: verdict.reason } : {}),
    ...(kind === 'missing' ? { missing: verdict.missing, findings: verdict.findings } : {}),
  };
}
