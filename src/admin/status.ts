import { authorityDocument, type AuthorityView } from './ca-status.ts';

/** What `/status` is made of; times are wall clock in milliseconds. */
export interface StatusSources {
  readonly version: string;
  readonly nodeName: string;
  readonly trustDomain: string;
  readonly startedAtMs: number;
  /** The clock that all other times are of: who reads this elsewhere may have another one. */
  readonly nowMs: number;
  readonly notReady: readonly string[];
  readonly policy: {
    readonly revision: string;
    readonly entries: number;
    readonly loadedAtMs: number;
    readonly warnings: readonly unknown[];
    readonly lastError?: string | undefined;
    readonly lastErrorAtMs?: number | undefined;
  };
  /** Whom attestors ask; absent: nobody. */
  readonly asked?: readonly {
    readonly attestor: string;
    readonly who: string;
    readonly at: string;
    readonly heardAtMs: number | undefined;
    readonly failing: { readonly reason: string; readonly sinceMs: number } | undefined;
  }[];
  /** Manifests of the cluster's own form, of files and of the API server. */
  readonly manifests: readonly {
    readonly source: string;
    readonly podsSelected: number | undefined;
    readonly entries: number | undefined;
    readonly renderFailures: number | undefined;
    readonly note: string | undefined;
  }[];
  readonly authorities: readonly AuthorityView[];
  /** Proxies that read the own bundle, and those that have not accepted it as it is now. */
  readonly bundleReaders: { readonly readers: number; readonly behind: number };
  /** Where the issuing CA comes from, unless its root is our own. */
  readonly upstream:
    | {
        readonly name: string;
        /** Undefined unless it comes from files. */
        readonly certFile: string | undefined;
        readonly loadedAtMs: number | undefined;
        readonly lastError: string | undefined;
        readonly lastErrorAtMs: number | undefined;
        readonly nextTryMs: number | undefined;
      }
    | undefined;
  /** Bundles of other trust domains; absent: there are none. */
  readonly foreign?: readonly {
    readonly trustDomain: string;
    readonly source: string;
    readonly hidden: readonly string[];
    readonly sequence: number;
    readonly roots: number;
    readonly earliestNotAfterMs: number | undefined;
  }[];
  /** Files and manifests whose bundle is not used as it stands there. */
  readonly foreignFaults?: readonly { readonly path: string; readonly reason: string }[];
  readonly rotation: {
    readonly held: number;
    readonly due: number;
    readonly earliestNotAfterMs: number | undefined;
  };
  readonly streams: Iterable<OpenStream>;
}

/** A stream that is looked at when its turn comes. */
interface OpenStream {
  readonly connection: string;
  snapshot(): StreamView;
}

interface StreamView {
  readonly credentials: { readonly pid: number; readonly uid: number; readonly gid: number };
  readonly kind: string;
  readonly node:
    | {
        readonly id: string;
        readonly userAgentName: string;
        readonly userAgentVersion:
          { readonly major: number; readonly minor: number; readonly patch: number } | undefined;
      }
    | undefined;
  readonly openedAtMs: number;
  readonly unanswered: number;
  readonly waiting: readonly string[];
  readonly refusals: readonly {
    readonly name: string;
    readonly reason: string;
    readonly atMs: number;
  }[];
  readonly resources: readonly {
    readonly name: string;
    readonly state: string;
    readonly unansweredSinceMs: number | undefined;
    readonly inUse: { readonly version: string; readonly svid: SvidView | undefined } | undefined;
    readonly sent: string | undefined;
    readonly absent: boolean;
    readonly sentAtMs: number;
    readonly acknowledged: string | undefined;
    readonly rejected: { readonly version: string; readonly text: string } | undefined;
    readonly svid: SvidView | undefined;
  }[];
}

interface SvidView {
  readonly id: string;
  readonly serial: string;
  readonly authorityId: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly renewAtMs: number;
}

/** Absent names of a stream that are shown: proxies ask for names that strangers choose. */
const MAX_ABSENT = 16;

/**
 * The document of `/status` and of `credence status --json`, a proxy a line. In pieces: there may be
 * ten thousands of streams, and whoever writes it should let others have their turn between two.
 */
export function* statusText(from: StatusSources): Generator<string> {
  const proxies = new Map<string, OpenStream[]>();
  for (const stream of from.streams) {
    const streams = proxies.get(stream.connection);
    if (streams) streams.push(stream);
    else proxies.set(stream.connection, [stream]);
  }
  yield `${JSON.stringify(daemonView(from), undefined, 2).slice(0, -2)},\n  "proxies": [`;
  let separator = '\n    ';
  for (const streams of proxies.values()) {
    yield separator + JSON.stringify(proxyView(streams.map((stream) => stream.snapshot())));
    separator = ',\n    ';
  }
  yield proxies.size === 0 ? ']\n}\n' : '\n  ]\n}\n';
}

function daemonView(from: StatusSources) {
  return {
    version: from.version,
    node_name: from.nodeName,
    trust_domain: from.trustDomain,
    started_at: time(from.startedAtMs),
    now: time(from.nowMs),
    not_ready: from.notReady,
    policy: {
      revision: from.policy.revision,
      entries: from.policy.entries,
      loaded_at: time(from.policy.loadedAtMs),
      warnings: from.policy.warnings.length,
      last_error: from.policy.lastError ?? null,
      last_error_at: time(from.policy.lastErrorAtMs),
    },
    asked: (from.asked ?? []).map(({ attestor, who, at, heardAtMs, failing }) => ({
      ...{ attestor, who, at },
      heard_at: time(heardAtMs),
      failing_since: time(failing?.sinceMs),
      reason: failing?.reason ?? null,
    })),
    manifests: from.manifests.map((manifest) => ({
      source: manifest.source,
      pods_selected: manifest.podsSelected ?? null,
      entries: manifest.entries ?? null,
      render_failures: manifest.renderFailures ?? null,
      note: manifest.note ?? null,
    })),
    authorities: from.authorities.map(authorityDocument),
    bundle_readers: from.bundleReaders,
    upstream: from.upstream
      ? {
          name: from.upstream.name,
          cert_file: from.upstream.certFile ?? null,
          loaded_at: time(from.upstream.loadedAtMs),
          last_error: from.upstream.lastError ?? null,
          last_error_at: time(from.upstream.lastErrorAtMs),
          next_try: time(from.upstream.nextTryMs),
        }
      : null,
    foreign_bundles: (from.foreign ?? []).map((bundle) => ({
      trust_domain: bundle.trustDomain,
      source: bundle.source,
      hidden: bundle.hidden,
      sequence: bundle.sequence,
      roots: bundle.roots,
      earliest_not_after: time(bundle.earliestNotAfterMs),
    })),
    foreign_bundle_faults: from.foreignFaults ?? [],
    rotation: {
      held_svids: from.rotation.held,
      due_svids: from.rotation.due,
      earliest_not_after: time(from.rotation.earliestNotAfterMs),
    },
  };
}

function proxyView(streams: readonly StreamView[]): unknown {
  const refusals = streams.find((stream) => stream.refusals.length > 0)?.refusals ?? [];
  const node = streams.find((stream) => stream.node)?.node;
  const version = node?.userAgentVersion;
  const credentials = streams[0]?.credentials;
  return {
    ...credentials,
    node_id: node?.id ?? null,
    user_agent: node?.userAgentName ?? null,
    envoy_version: version ? `${version.major}.${version.minor}.${version.patch}` : null,
    refusals: refusals.map(({ name, reason, atMs }) => ({ name, reason, at: time(atMs) })),
    streams: streams.map(streamView),
  };
}

function streamView(stream: StreamView): unknown {
  let absent = 0;
  const shown = stream.resources.filter((one) => !one.absent || ++absent <= MAX_ABSENT);
  return {
    kind: stream.kind,
    opened_at: time(stream.openedAtMs),
    unanswered_pushes: stream.unanswered,
    oldest_unanswered_at: time(oldestUnansweredMs(stream)),
    waiting: stream.waiting,
    absent_not_shown: Math.max(absent - MAX_ABSENT, 0),
    secrets: shown.map((resource) => ({
      name: resource.name,
      state: resource.state,
      sent: resource.sent ?? null,
      absent: resource.absent,
      sent_at: resource.sent === undefined ? null : time(resource.sentAtMs),
      unanswered_since: time(resource.unansweredSinceMs),
      acknowledged: resource.acknowledged ?? null,
      refused: resource.rejected ?? null,
      spiffe_id: resource.svid?.id ?? null,
      serial: resource.svid?.serial ?? null,
      authority_id: resource.svid?.authorityId ?? null,
      not_before: time(resource.svid?.notBeforeMs),
      not_after: time(resource.svid?.notAfterMs),
      next_rotation: time(resource.svid?.renewAtMs),
      in_use: resource.inUse ? inUseView(resource.inUse) : null,
    })),
  };
}

/** What the proxy last accepted. */
function inUseView({ version, svid }: NonNullable<StreamView['resources'][number]['inUse']>) {
  return {
    version,
    spiffe_id: svid?.id ?? null,
    serial: svid?.serial ?? null,
    authority_id: svid?.authorityId ?? null,
    not_before: time(svid?.notBeforeMs),
    not_after: time(svid?.notAfterMs),
  };
}

/** Since when a name has had no answer, the longest of all. */
function oldestUnansweredMs({ resources }: StreamView): number | undefined {
  const open = resources.flatMap(({ unansweredSinceMs: since }) =>
    since === undefined ? [] : [since],
  );
  return open.length === 0 ? undefined : open.reduce((oldest, since) => Math.min(oldest, since));
}

function time(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
