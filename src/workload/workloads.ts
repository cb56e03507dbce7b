import type { Clock } from '../core/clock.ts';
import { toIdentityError, type IdentityError } from '../core/errors.ts';
import { createFairTurns, type FairTurns } from '../core/fair-turns.ts';
import type { TrustBundle } from '../identity/bundle.ts';
import type { Caller } from '../identity/caller.ts';
import type { Entitlement } from '../identity/entitlement.ts';
import { podSelectorOf } from '../identity/pod-selector.ts';
import type { Selector } from '../identity/selector.ts';
import type { SpiffeId, TrustDomain } from '../identity/spiffe-id.ts';
import {
  attach,
  turnKeyOf,
  type Attachment,
  type AttachmentDeps,
  type SvidKeeper,
  type Workload,
  type WorkloadReader,
} from './attachment.ts';
import { createBundleReaders } from './bundle-readers.ts';
import { createFanOut } from './fan-out.ts';
import { grantOf, type Grant } from './grant.ts';

/** The policy, as a workload sees it. */
export interface Entitlements {
  match(selectors: readonly Selector[]): readonly Entitlement[];
  /** Called when processes may be granted others: all, or those of the pod with this selector. */
  onChange(listener: (pod?: Selector) => void): () => void;
}

/** Trust bundles by domain, own and foreign alike. */
interface BundleSource {
  get(trustDomain: TrustDomain): TrustBundle | undefined;
  onChange(listener: (trustDomain: TrustDomain) => void): () => void;
}

export interface Workloads {
  /** Throws `ERR_PEER_GONE` when the process has ended. */
  attach(caller: Caller, reader: WorkloadReader): Attachment;
  close(): void;
}

interface WorkloadsDeps {
  readonly trustDomain: TrustDomain;
  readonly entitlements: Entitlements;
  readonly svids: SvidKeeper;
  readonly bundles: BundleSource;
  readonly clock: Clock;
  readonly onError: (thrown: unknown) => void;
}

/** All attested processes that read something, and the way a change finds the readers it concerns. */
export function createWorkloads(deps: WorkloadsDeps): Workloads {
  return new AttestedWorkloads(deps);
}

class AttestedWorkloads implements Workloads {
  readonly #deps: WorkloadsDeps;
  readonly #shared: AttachmentDeps;
  readonly #byKey = new Map<string, Workload>();
  readonly #unsubscribe: readonly (() => void)[];
  /** Whose grant is older than the newest change; pods, and users beside them, take turns. */
  readonly #old: FairTurns<Workload>;

  constructor(deps: WorkloadsDeps) {
    const { svids, bundles, entitlements } = deps;
    const bundleReaders = createBundleReaders<WorkloadReader>();
    const fanOut = createFanOut(deps.clock, deps.onError);
    this.#deps = deps;
    this.#old = createFairTurns({ ...deps, look: (workload) => this.#regrant(workload) });
    this.#shared = { svids, bundles, bundleReaders, fanOut };
    this.#unsubscribe = [
      entitlements.onChange((pod) => this.#outdate(pod)),
      bundles.onChange((domain) => {
        for (const reader of bundleReaders.of(domain)) fanOut.mark(reader);
      }),
    ];
  }

  attach(caller: Caller, reader: WorkloadReader): Attachment {
    return attach(this.#obtain(caller), reader, this.#shared);
  }

  close(): void {
    for (const stop of this.#unsubscribe) stop();
  }

  #obtain(caller: Caller): Workload {
    const known = this.#byKey.get(caller.key);
    if (known) {
      // Its turn has not come yet: nobody begins with what may have been taken away.
      if (this.#old.has(known)) this.#regrant(known);
      return known;
    }
    if (caller.gone.aborted) throw goneReason(caller);
    const grant = this.#grantTo(caller);
    const pod = podSelectorOf(caller.selectors);
    const recipient = {
      caller,
      sourceOf: (id: SpiffeId) => workload.grant.byId.get(id)?.source,
    };
    const workload: Workload = { caller, pod, grant, recipient, readers: new Set() };
    this.#byKey.set(caller.key, workload);
    const stop = caller.onChange(() => this.#guarded(() => this.#regrant(workload)));
    caller.gone.addEventListener('abort', stop, { once: true });
    caller.gone.addEventListener('abort', () => this.#end(workload), { once: true });
    return workload;
  }

  #grantTo(caller: Caller) {
    const { trustDomain, entitlements } = this.#deps;
    return grantOf(trustDomain, entitlements.match(caller.selectors));
  }

  #end(workload: Workload): void {
    const { caller, readers } = workload;
    this.#byKey.delete(caller.key);
    this.#old.delete(workload);
    this.#deps.svids.forget(caller.key);
    const reason = goneReason(caller);
    for (const reader of [...readers]) this.#guarded(() => reader.gone(reason));
  }

  /** The newest go first: they wait for what they begin with. */
  #outdate(pod?: Selector): void {
    for (const workload of [...this.#byKey.values()].reverse()) {
      if (pod !== undefined && workload.pod !== pod) continue;
      this.#old.add(workload, turnKeyOf(workload));
    }
  }

  /**
   * What it was granted by may hold no more: what cannot be computed anew is not granted. One whose
   * turn it was stays old then, so that whoever begins next has it computed again.
   */
  #regrant(workload: Workload): void {
    try {
      this.#give(workload, this.#grantTo(workload.caller));
      this.#old.delete(workload);
    } catch (thrown) {
      this.#give(workload, grantOf(this.#deps.trustDomain, []));
      throw thrown;
    }
  }

  #give(workload: Workload, grant: Grant): void {
    const isSame = grant.key === workload.grant.key;
    // Also when it is the same: its entries may stand elsewhere now.
    workload.grant = grant;
    if (isSame) return;
    for (const reader of workload.readers) this.#shared.fanOut.mark(reader);
  }

  /** One reader or workload must not keep the others from their turn. */
  #guarded(step: () => void): void {
    try {
      step();
    } catch (thrown) {
      this.#deps.onError(thrown);
    }
  }
}

function goneReason(caller: Caller): IdentityError {
  return toIdentityError(caller.gone.reason, 'ERR_PEER_GONE');
}
