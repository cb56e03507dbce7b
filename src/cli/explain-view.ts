import { IdentityError } from '../core/errors.ts';
import { count, list, record, text, texts, type Fields } from './json-fields.ts';

/** What became of an entry that gives an identity, or nearly does. */
export interface VerdictView {
  readonly kind: string;
  readonly spiffeId: string;
  /** `file:line` of the entry. */
  readonly source: string;
  /** Of a shadowed entry: the place of the one that counts. */
  readonly shadowedBy: string;
  /** Why a placeholder has no value, or what is not known yet. */
  readonly reason: string;
  readonly missing: readonly string[];
  /** Why no process has what is missing. */
  readonly findings: readonly string[];
}

export interface IdentityView {
  readonly spiffeId: string;
  readonly priority: number | null;
  readonly source: string;
}

export interface StepView {
  readonly name: string;
  readonly text: string;
}

/** What `credence explain --pod` shows. */
export interface PodExplainView {
  readonly known: string;
  readonly pods: readonly {
    readonly title: string;
    readonly uid: string;
    readonly serviceAccount: string;
    readonly containers: readonly {
      readonly name: string;
      readonly kind: string;
      readonly id: string;
      readonly image: string;
      readonly told: ExplainView;
    }[];
  }[];
}

/** What `credence explain` shows of the document at `/explain`. */
export interface ExplainView {
  /** Undefined when selectors were asked about instead of a process. */
  readonly process:
    { readonly pid: number; readonly uid: number | null; readonly gid: number | null } | undefined;
  /** The way from the socket to the selectors, as far as it goes. */
  readonly steps: readonly StepView[];
  /** Why it is not attested; null when it is. */
  readonly refusal: string | null;
  readonly selectors: readonly string[];
  /** The first one is the default. */
  readonly identities: readonly IdentityView[];
  readonly verdicts: readonly VerdictView[];
  /** Entries that miss something too, beyond those of the verdicts. */
  readonly missingNotShown: number;
}

/** Takes out of an answer what is shown; throws `ERR_UNREACHABLE` when it explains nothing. */
export function parseExplanation(document: unknown): ExplainView {
  const from = record(document);
  if (![from['selectors'], from['identities'], from['entries']].every(Array.isArray)) {
    const message = 'the daemon answered something else than an explanation';
    throw new IdentityError('ERR_UNREACHABLE', message);
  }
  const pid = count(from['pid']);
  return {
    process: pid === null ? undefined : { pid, uid: count(from['uid']), gid: count(from['gid']) },
    steps: list(from['steps']).map((step) => ({
      name: text(step['step']) ?? '?',
      text: text(step['text']) ?? '?',
    })),
    refusal: text(from['refusal']),
    selectors: texts(from['selectors']),
    identities: list(from['identities']).map((identity) => ({
      spiffeId: text(identity['spiffe_id']) ?? '?',
      priority: count(identity['priority']),
      source: text(identity['source']) ?? '?',
    })),
    verdicts: list(from['entries']).map(parseVerdict),
    missingNotShown: count(from['missing_not_shown']) ?? 0,
  };
}

/** Takes out of an answer what is shown; throws `ERR_UNREACHABLE` when it explains no pod. */
export function parsePodExplanation(document: unknown): PodExplainView {
  const from = record(document);
  if (!Array.isArray(from['pods'])) {
    const message = 'the daemon answered something else than an explanation of a pod';
    throw new IdentityError('ERR_UNREACHABLE', message);
  }
  return {
    known: text(from['known']) ?? '?',
    pods: list(from['pods']).map((pod) => ({
      title: `${text(pod['namespace']) ?? '?'}/${text(pod['name']) ?? '?'}`,
      uid: text(pod['uid']) ?? '?',
      serviceAccount: text(pod['service_account']) ?? '',
      containers: list(pod['containers']).map((container) => ({
        name: text(container['name']) ?? '?',
        kind: text(container['kind']) ?? '?',
        id: text(container['id']) ?? '',
        image: text(container['image']) ?? '?',
        told: parseExplanation(container),
      })),
    })),
  };
}

function parseVerdict(from: Fields): VerdictView {
  return {
    kind: text(from['verdict']) ?? '?',
    spiffeId: text(from['spiffe_id']) ?? '?',
    source: text(from['source']) ?? '?',
    shadowedBy: text(from['shadowed_by']) ?? '?',
    reason: text(from['reason']) ?? '?',
    missing: texts(from['missing']),
    findings: texts(from['findings']),
  };
}
