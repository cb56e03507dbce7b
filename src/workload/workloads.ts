import type { Clock } from '../core/clock.ts';
import { toIdentityError, type IdentityError } from '../core/errors.ts';
import type { TrustBundle } from '../identity/bundle.ts';
import type { Caller } from '../identity/caller.ts';
import type { Entitlement } from '../identity/entitlement.ts';
import type { Selector } from '../identity/selector.ts';
import type { SpiffeId, TrustDomain } from '../identity/spiffe-id.ts';
import type { X509Svid } from '../identity/svid.ts';
import { createFanOut, type Reader } from './fan-out.ts';
import { grantOf, type Grant } from './grant.ts';

/** The policy, as a workload sees it. */
export interface Entitlements {
  match(selectors: readonly Selector[]): readonly Entitlement[];
  onChange(listener: () => void): () => void;
}

/** One held SVID and the plan for it. */
export interface PlannedSvid {
  readonly svid: X509Svid;
  readonly renewAtMs: number;
  readonly dueAtMs: number | undefined;
}

export interface SvidHolding {
  current(): PlannedSvid | undefined;
  failure(): IdentityError | undefined;
  release(): void;
}

/** Keeps SVIDs fresh while they are held; rotation, as a workload sees it. */
export interface SvidKeeper {
  hold(
    holder: string,
    request: { id: SpiffeId; ttlMs: number | undefined; dnsNames: readonly string[] },
    onChange: () => void,
  ): SvidHolding;
  forget(holder: string): void;
}

/** Trust bundles by domain, own and foreign alike. */
export interface BundleSource {
  get(trustDomain: TrustDomain): TrustBundle | undefined;
  onChange(listener: (trustDomain: TrustDomain) => void): () => void;
}

/** A reader that can be told that its workload is no more. */
export interface WorkloadReader extends Reader {
  gone(reason: IdentityError): void;
}

/**
 * One reader's access to a workload's identities and bundles. What it asked for is kept fresh for
 * it, and it is told when that changes, until it lets go.
 */
export interface Attachment {
  readonly caller: Caller;
  grant(): Grant;
  /** Holds the SVID of an identity of the grant. */
  svid(identity: Entitlement): SvidHolding;
  bundle(trustDomain: TrustDomain): TrustBundle | undefined;
  /** Lets go of all SVIDs but these. */
  keep(ids: ReadonlySet<SpiffeId>): void;
  close(): void;
}

export interface Workloads {
  /** Throws `ERR_PEER_GONE` when the process has ended. */
  attach(caller: Caller, reader: WorkloadReader): Attachment;
  close(): void;
}

export interface WorkloadsDeps {
  readonly trustDomain: TrustDomain;
  readonly entitlements: Entitlements;
  readonly svids: SvidKeeper;
  readonly bundles: BundleSource;
  readonly clock: Clock;
  readonly onError: (thrown: unknown) => void;
}

interface Workload {
  readonly caller: Caller;
  grant: Grant;
  readonly readers: Set<WorkloadReader>;
}

/** Workloads whose grant is computed in one turn of the event loop after a policy change. */
const REGRANT_SLICE = 16;

/** All attested processes that read something, and the way a change finds the readers it concerns. */
export function createWorkloads(deps: WorkloadsDeps): Workloads {
  const { trustDomain, entitlements, svids, bundles, clock } = deps;
  const workloads = new Map<string, Workload>();
  const bundleReaders = new Map<TrustDomain, Set<WorkloadReader>>();
  const fanOut = createFanOut(clock, deps.onError);

  const computeGrant = (caller: Caller) =>
    grantOf(trustDomain, entitlements.match(caller.selectors));

  function obtain(caller: Caller): Workload {
    const known = workloads.get(caller.key);
    if (known) return known;
    if (caller.gone.aborted) throw goneReason(caller);
    const workload: Workload = { caller, grant: computeGrant(caller), readers: new Set() };
    workloads.set(caller.key, workload);
    caller.gone.addEventListener('abort', () => end(workload), { once: true });
    return workload;
  }

  function end(workload: Workload): void {
    workloads.delete(workload.caller.key);
    svids.forget(workload.caller.key);
    const reason = goneReason(workload.caller);
    for (const reader of [...workload.readers]) guarded(() => reader.gone(reason));
  }

  /** One reader or workload must not keep the others from their turn. */
  function guarded(step: () => void): void {
    try {
      step();
    } catch (thrown) {
      deps.onError(thrown);
    }
  }

  let regranting: Workload[] = [];
  function regrantAll(): void {
    const idle = regranting.length === 0;
    regranting = [...workloads.values()];
    if (idle) regrantSlice();
  }

  function regrantSlice(): void {
    for (const workload of regranting.splice(-REGRANT_SLICE)) guarded(() => regrant(workload));
    if (regranting.length > 0) setImmediate(regrantSlice);
  }

  function regrant(workload: Workload): void {
    const grant = computeGrant(workload.caller);
    if (grant.key === workload.grant.key) return;
    workload.grant = grant;
    for (const reader of workload.readers) fanOut.mark(reader);
  }

  const unsubscribe = [
    entitlements.onChange(regrantAll),
    bundles.onChange((domain) => {
      for (const reader of bundleReaders.get(domain) ?? []) fanOut.mark(reader);
    }),
  ];

  function attach(caller: Caller, reader: WorkloadReader): Attachment {
    const workload = obtain(caller);
    workload.readers.add(reader);
    fanOut.add(reader);
    const held = new Map<SpiffeId, { identity: Entitlement; holding: SvidHolding }>();
    const domains = new Set<TrustDomain>();
    /** First SVIDs that this reader still waits for. */
    let awaited = 0;

    function hold(identity: Entitlement): SvidHolding {
      const known = held.get(identity.id);
      if (known?.identity === identity) return known.holding;
      let first = true;
      awaited++;
      const request = {
        id: identity.id,
        ttlMs: identity.x509SvidTtlMs,
        dnsNames: identity.dnsNames,
      };
      const holding = svids.hold(caller.key, request, () => {
        const last = arrived() && awaited === 0;
        // What a newcomer waits for it gets at once, all of it in one look; renewals come in crowds.
        if (last) reader.refresh();
        else fanOut.mark(reader);
      });
      if (holding.current()) arrived();
      // Released after the new one is held: an unchanged request then finds its SVID alive.
      known?.holding.release();
      held.set(identity.id, { identity, holding });
      return holding;

      function arrived(): boolean {
        if (!first) return false;
        first = false;
        awaited--;
        return true;
      }
    }

    return {
      caller,
      grant: () => workload.grant,
      svid: hold,
      bundle(domain) {
        if (!domains.has(domain)) {
          domains.add(domain);
          const readers = bundleReaders.get(domain);
          if (readers) readers.add(reader);
          else bundleReaders.set(domain, new Set([reader]));
        }
        return bundles.get(domain);
      },
      keep(ids) {
        for (const [id, { holding }] of held) {
          if (ids.has(id)) continue;
          held.delete(id);
          holding.release();
        }
      },
      close() {
        workload.readers.delete(reader);
        fanOut.remove(reader);
        for (const { holding } of held.values()) holding.release();
        held.clear();
        for (const domain of domains) {
          const readers = bundleReaders.get(domain);
          readers?.delete(reader);
          if (readers?.size === 0) bundleReaders.delete(domain);
        }
        domains.clear();
      },
    };
  }

  return {
    attach,
    close() {
      for (const stop of unsubscribe) stop();
    },
  };
}

function goneReason(caller: Caller): IdentityError {
  return toIdentityError(caller.gone.reason, 'ERR_PEER_GONE');
}
