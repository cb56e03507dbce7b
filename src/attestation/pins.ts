import type { Clock, Timer } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import type { ExitWatch, Kernel } from './kernel.ts';
import type { Peer } from './peer.ts';
import { ended, newProcess, type Process } from './process.ts';

/** The pinned processes, each watched for its end. */
export interface Pins {
  /** Takes the peer over, also when it throws because it cannot be watched. */
  add(peer: Peer): Process;
  get(key: string): Process | undefined;
  has(process: Process): boolean;
  /** Ends a process, with the reason; one that is not pinned has ended already. */
  remove(process: Process, reason: IdentityError): void;
  /** Removes those that have exited. */
  look(): void;
  readonly size: number;
  close(): void;
}

/** One system call for all processes; there is no way to wait for foreign descriptors in Node. */
const WATCH_MS = 100;

export interface PinsEvents {
  /** Called with each process that is no longer pinned, before others are told. */
  onRemove(process: Process): void;
  /** Called at each look that the clock calls for, once those that have exited are removed. */
  onTick(): void;
}

export function createPins(
  kernel: Pick<Kernel, 'createExitWatch'>,
  clock: Clock,
  events: PinsEvents,
): Pins {
  return new ProcessPins(kernel.createExitWatch(), clock, events);
}

class ProcessPins implements Pins {
  readonly #byKey = new Map<string, Process>();
  readonly #byPidfd = new Map<number, Process>();
  readonly #watch: ExitWatch;
  readonly #clock: Clock;
  readonly #events: PinsEvents;
  #timer: Timer | undefined;
  #closed = false;

  constructor(watch: ExitWatch, clock: Clock, events: PinsEvents) {
    this.#watch = watch;
    this.#clock = clock;
    this.#events = events;
  }

  get size(): number {
    return this.#byKey.size;
  }

  add(peer: Peer): Process {
    try {
      this.#watch.add(peer.pidfd);
    } catch (thrown) {
      peer.close();
      throw thrown;
    }
    const process = newProcess(peer);
    this.#byKey.set(peer.key, process);
    this.#byPidfd.set(peer.pidfd, process);
    this.#arm();
    return process;
  }

  get(key: string): Process | undefined {
    return this.#byKey.get(key);
  }

  /** The number alone would not tell, it is used again. */
  has(process: Process): boolean {
    return this.#byPidfd.get(process.peer.pidfd) === process;
  }

  remove(process: Process, reason: IdentityError): void {
    if (!this.has(process)) return;
    const { peer, gone } = process;
    this.#byPidfd.delete(peer.pidfd);
    if (this.#byKey.get(peer.key) === process) this.#byKey.delete(peer.key);
    this.#events.onRemove(process);
    this.#watch.remove(peer.pidfd);
    peer.close();
    gone.abort(reason);
  }

  look(): void {
    // Each answer is a bounded number of them; one without a known process ends the asking.
    let more = true;
    while (more) {
      more = false;
      for (const pidfd of this.#watch.exited()) {
        const process = this.#byPidfd.get(pidfd);
        if (!process) continue;
        this.remove(process, ended('the process has ended'));
        more = true;
      }
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    const reason = new IdentityError('ERR_SHUTDOWN', 'credence is shutting down');
    for (const process of [...this.#byKey.values()]) this.remove(process, reason);
    this.#watch.close();
  }

  #arm(): void {
    if (this.#byKey.size === 0 || this.#closed) return;
    this.#timer ??= this.#clock.after(WATCH_MS, () => {
      this.#timer = undefined;
      this.look();
      this.#events.onTick();
      this.#arm();
    });
  }
}
