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

/** @param onRemove called with each process that is no longer pinned, before others are told. */
export function createPins(
  kernel: Pick<Kernel, 'createExitWatch'>,
  onRemove: (process: Process) => void,
): Pins {
  return new ProcessPins(kernel.createExitWatch(), onRemove);
}

class ProcessPins implements Pins {
  readonly #byKey = new Map<string, Process>();
  readonly #byPidfd = new Map<number, Process>();
  readonly #watch: ExitWatch;
  readonly #onRemove: (process: Process) => void;
  #closed = false;

  constructor(watch: ExitWatch, onRemove: (process: Process) => void) {
    this.#watch = watch;
    this.#onRemove = onRemove;
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
    this.#awaitExits();
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
    this.#onRemove(process);
    this.#watch.remove(peer.pidfd);
    peer.close();
    gone.abort(reason);
  }

  look(): void {
    if (this.#closed) return;
    // Each answer is a bounded number of them; one without a known process ends the asking.
    let more = true;
    while (more) {
      more = false;
      for (const pidfd of this.#watch.exited()) {
        const process = this.#byPidfd.get(pidfd);
        // One that nobody knows would wake the waiting again and again.
        if (!process) this.#watch.remove(pidfd);
        else this.remove(process, ended('the process has ended'));
        more ||= process !== undefined;
      }
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const reason = new IdentityError('ERR_SHUTDOWN', 'credence is shutting down');
    for (const process of [...this.#byKey.values()]) this.remove(process, reason);
    this.#watch.close();
  }

  #awaitExits(): void {
    if (this.size === 0 || this.#closed) return;
    this.#watch.wait(() => {
      this.look();
      this.#awaitExits();
    });
  }
}
