import { abortReason, unlessAborted, sleep, type Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import { crowded, whoGivesWay } from './places.ts';
import type { PodView, Seen } from './pod-view.ts';

/** Where a container is, by its pod; who is not known yet is waited for. */
export interface Pods {
  /**
   * At once when it is known. Rejects with `ERR_ATTESTATION` when nobody has told of it in time,
   * `ERR_LIMIT` when too many wait, or the signal's reason.
   */
  locate(
    podUid: string,
    containerId: string,
    options: { signal: AbortSignal },
  ): Seen | Promise<Seen>;
  /** Containers that are waited for. */
  readonly waiting: number;
}

export interface PodsDeps {
  readonly index: Pick<PodView, 'find' | 'byUid' | 'onChange'> &
    Partial<Pick<PodView, 'unlabelled'>>;
  /** Asks for the newest list, for what the watch has yet to tell; may reject. */
  readonly relist: (options: { signal: AbortSignal }) => Promise<void>;
  readonly clock: Clock;
  /** Ends all waiting. */
  readonly closing: AbortSignal;
}

/**
 * A container runs about a second before the kubelet has told of it, and for as long as its
 * postStart hook takes. Not for ever: the proxy asks again.
 */
const DEADLINE_MS = 30_000;
/** When the newest list is asked for while somebody waits; then every two seconds. */
const RELIST_AT_MS = [250, 500, 1000, 2000];
const RELIST_EVERY_MS = 2000;
const RELIST_APART_MS = 500;
/** What reads of each of them takes 100 µs: a node that starts must not keep all others waiting. */
const SETTLED_IN_A_TURN = 64;

interface Waiter {
  readonly podUid: string;
  readonly containerId: string;
  readonly settle: (found: Seen) => void;
  readonly fail: (error: unknown) => void;
}

export function createPods(deps: PodsDeps): Pods {
  return new WaitingPods(deps);
}

class WaitingPods implements Pods {
  readonly #deps: PodsDeps;
  readonly #waiters = new Set<Waiter>();
  /** Uids of pods that have changed, not looked at yet. */
  readonly #changed = new Set<string>();
  #looking = false;
  #relisting = false;
  #relistedAtMs = -Infinity;

  constructor(deps: PodsDeps) {
    this.#deps = deps;
    const { closing } = deps;
    const end = () => {
      for (const { fail } of this.#waiters) fail(abortReason(closing));
    };
    closing.addEventListener('abort', end, { once: true });
    deps.index.onChange((uid) => {
      if (this.#waiters.size === 0) return;
      this.#changed.add(uid);
      this.#lookSoon();
    });
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  locate(podUid: string, containerId: string, { signal }: { signal: AbortSignal }) {
    const found = this.#deps.index.find(podUid, containerId);
    return found ?? this.#wait(podUid, containerId, signal);
  }

  async #wait(podUid: string, containerId: string, signal: AbortSignal): Promise<Seen> {
    const displaced = whoGivesWay(this.#waiters, podUid);
    if (displaced) {
      this.#waiters.delete(displaced);
      displaced.fail(crowded());
    }
    const { clock } = this.#deps;
    let waiter: Waiter | undefined;
    const giveUp = () => waiter?.fail(untold(waiter, this.#unlabelled(waiter)));
    const told = new Promise<Seen>((settle, fail) => {
      waiter = { podUid, containerId, settle, fail };
      this.#waiters.add(waiter);
    });
    const timer = clock.after(DEADLINE_MS, giveUp);
    void this.#relistWhileWaited();
    try {
      return await unlessAborted(told, signal);
    } finally {
      timer.cancel();
      if (waiter) this.#waiters.delete(waiter);
    }
  }

  #lookSoon(): void {
    if (this.#looking || this.#changed.size === 0) return;
    this.#looking = true;
    setImmediate(() => {
      this.#looking = false;
      this.#look();
      this.#lookSoon();
    });
  }

  /** Settles some of those that wait for what has changed. */
  #look(): void {
    let settled = 0;
    for (const uid of this.#changed) {
      for (const waiter of this.#waitersOf(uid)) {
        if (settled >= SETTLED_IN_A_TURN) return;
        settled += this.#settle(waiter) ? 1 : 0;
      }
      this.#changed.delete(uid);
    }
  }

  /** A static pod's processes wait for it by another uid, so the container counts as well. */
  #waitersOf(uid: string): readonly Waiter[] {
    const ids = new Set(this.#deps.index.byUid(uid)?.containers.map(({ id }) => id));
    return [...this.#waiters].filter((one) => one.podUid === uid || ids.has(one.containerId));
  }

  #settle(waiter: Waiter): boolean {
    try {
      const found = this.#deps.index.find(waiter.podUid, waiter.containerId);
      if (!found) return false;
      waiter.settle(found);
    } catch (thrown) {
      waiter.fail(thrown);
    }
    // Its turn is over; the promise that it waits on removes it only later.
    this.#waiters.delete(waiter);
    return true;
  }

  /** Where the labels of its namespace are all that is missing, it is that namespace. */
  #unlabelled({ podUid, containerId }: Waiter): string | undefined {
    try {
      return this.#deps.index.unlabelled?.(podUid, containerId);
    } catch {
      return undefined;
    }
  }

  /** Whether somebody waits for what a list of pods can tell. */
  #isAnyUnknown(): boolean {
    for (const waiter of this.#waiters) {
      if (this.#unlabelled(waiter) === undefined) return true;
    }
    return false;
  }

  /** One list for all that wait, however many they are. */
  async #relistWhileWaited(): Promise<void> {
    if (this.#relisting) return;
    this.#relisting = true;
    const { clock, relist, closing } = this.#deps;
    try {
      for (let n = 0, before = 0; this.#isAnyUnknown(); n++) {
        const at = RELIST_AT_MS[n] ?? before + RELIST_EVERY_MS;
        const pauseMs = Math.max(
          at - before,
          this.#relistedAtMs + RELIST_APART_MS - clock.monotonic(),
        );
        before = at;
        await sleep(clock, pauseMs, { signal: closing });
        if (!this.#isAnyUnknown()) return;
        this.#relistedAtMs = clock.monotonic();
        // Who follows the pods says why they cannot be listed.
        await relist({ signal: closing }).catch(() => undefined);
      }
    } catch (thrown) {
      for (const { fail } of this.#waiters) fail(thrown);
    } finally {
      this.#relisting = false;
    }
  }
}

/** @param namespace whose labels are all that is missing. */
function untold({ podUid, containerId }: Waiter, namespace: string | undefined): IdentityError {
  const rest =
    namespace === undefined
      ? `container ${containerId.slice(0, 12)} of pod ${podUid}`
      : `the labels of namespace ${namespace}, which pod ${podUid} is in`;
  return new IdentityError('ERR_ATTESTATION', `the cluster has not told of ${rest} yet`);
}
