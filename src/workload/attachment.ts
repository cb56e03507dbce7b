import type { IdentityError } from '../core/errors.ts';
import type { TurnKey } from '../core/fair-queue.ts';
import type { TrustBundle } from '../identity/bundle.ts';
import type { Caller } from '../identity/caller.ts';
import type { Entitlement } from '../identity/entitlement.ts';
import type { Selector } from '../identity/selector.ts';
import type { SpiffeId, TrustDomain } from '../identity/spiffe-id.ts';
import type { X509Svid } from '../identity/svid.ts';
import type { BundleReaders } from './bundle-readers.ts';
import type { FanOut, Reader } from './fan-out.ts';
import type { Grant } from './grant.ts';

/** One held SVID and the plan for it. */
export interface PlannedSvid {
  readonly svid: X509Svid;
  readonly renewAtMs: number;
  readonly dueAtMs: number | undefined;
}

interface SvidHolding {
  current(): PlannedSvid | undefined;
  failure(): IdentityError | undefined;
  release(): void;
}

/** For whom an SVID is held: what holds of its process and its entries when it is asked. */
interface Recipient {
  readonly caller: Caller;
  sourceOf(id: SpiffeId): string | undefined;
}

/** Keeps SVIDs fresh while they are held; rotation, as a workload sees it. */
export interface SvidKeeper {
  hold(
    holder: string,
    request: { id: SpiffeId; ttlMs: number | undefined; dnsNames: readonly string[] },
    onChange: () => void,
    recipient: Recipient,
  ): SvidHolding;
  forget(holder: string): void;
}

/** A reader that can be told that its workload is no more. */
export interface WorkloadReader extends Reader {
  gone(reason: IdentityError): void;
}

/** One attested process, and those who read for it. */
export interface Workload {
  readonly caller: Caller;
  /** What the processes of its pod are known by; undefined of one that is in none. */
  readonly pod: Selector | undefined;
  grant: Grant;
  readonly recipient: Recipient;
  readonly readers: Set<WorkloadReader>;
}

/** Pods take turns, and users beside them: a pod may have many users, and share one with others. */
export function turnKeyOf({ pod, caller }: Workload): TurnKey {
  return pod ?? caller.credentials.uid;
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

/** What all attachments share. */
export interface AttachmentDeps {
  readonly svids: Pick<SvidKeeper, 'hold'>;
  readonly bundles: { get(trustDomain: TrustDomain): TrustBundle | undefined };
  readonly bundleReaders: BundleReaders<WorkloadReader>;
  readonly fanOut: FanOut;
}

export function attach(
  workload: Workload,
  reader: WorkloadReader,
  deps: AttachmentDeps,
): Attachment {
  return new ReaderAttachment(workload, reader, deps);
}

class ReaderAttachment implements Attachment {
  readonly #workload: Workload;
  readonly #reader: WorkloadReader;
  readonly #deps: AttachmentDeps;
  readonly #held = new Map<SpiffeId, { identity: Entitlement; holding: SvidHolding }>();
  readonly #domains = new Set<TrustDomain>();
  /** First SVIDs that the reader still waits for. */
  #awaited = 0;

  constructor(workload: Workload, reader: WorkloadReader, deps: AttachmentDeps) {
    this.#workload = workload;
    this.#reader = reader;
    this.#deps = deps;
    workload.readers.add(reader);
    const { pid } = workload.caller.credentials;
    deps.fanOut.add(reader, { of: turnKeyOf(workload), pid });
  }

  get caller(): Caller {
    return this.#workload.caller;
  }

  grant(): Grant {
    return this.#workload.grant;
  }

  svid(identity: Entitlement): SvidHolding {
    const known = this.#held.get(identity.id);
    if (known?.identity === identity) return known.holding;
    const holding = this.#hold(identity);
    // Released after the new one is held: an unchanged request then finds its SVID alive.
    known?.holding.release();
    this.#held.set(identity.id, { identity, holding });
    return holding;
  }

  bundle(trustDomain: TrustDomain): TrustBundle | undefined {
    if (!this.#domains.has(trustDomain)) {
      this.#domains.add(trustDomain);
      this.#deps.bundleReaders.add(trustDomain, this.#reader);
    }
    return this.#deps.bundles.get(trustDomain);
  }

  keep(ids: ReadonlySet<SpiffeId>): void {
    for (const [id, { holding }] of this.#held) {
      if (ids.has(id)) continue;
      this.#held.delete(id);
      holding.release();
    }
  }

  close(): void {
    this.#workload.readers.delete(this.#reader);
    this.#deps.fanOut.remove(this.#reader);
    for (const { holding } of this.#held.values()) holding.release();
    this.#held.clear();
    for (const domain of this.#domains) this.#deps.bundleReaders.remove(domain, this.#reader);
    this.#domains.clear();
  }

  #hold({ id, x509SvidTtlMs: ttlMs, dnsNames }: Entitlement): SvidHolding {
    let first = true;
    this.#awaited++;
    const arrived = (): boolean => {
      if (!first) return false;
      first = false;
      this.#awaited--;
      return true;
    };
    const { svids, fanOut } = this.#deps;
    const onChange = () => {
      const isFirst = arrived();
      // Who is found to be another one is told by its end, and gets nothing of the former's.
      if (!isFirst && !this.caller.isUnchanged()) return;
      const last = isFirst && this.#awaited === 0;
      // What a newcomer waits for it gets at once, all of it in one look; renewals come in crowds.
      if (last) this.#reader.refresh();
      else fanOut.mark(this.#reader);
    };
    const { recipient } = this.#workload;
    const holding = svids.hold(this.caller.key, { id, ttlMs, dnsNames }, onChange, recipient);
    if (holding.current()) arrived();
    return {
      current: () => holding.current(),
      failure: () => holding.failure(),
      release() {
        // What is given up is not waited for.
        arrived();
        holding.release();
      },
    };
  }
}
