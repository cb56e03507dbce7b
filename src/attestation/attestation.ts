import { setMaxListeners } from 'node:events';
import type { Socket } from 'node:net';
import type { Clock } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import { NOBODY, type Caller, type PeerCredentials } from '../identity/caller.ts';
import type { Attestor } from './attestor.ts';
import { describeProcess, type Look, type ProcessDescription } from './by-pid.ts';
import { createCallers, failureFields } from './callers.ts';
import type { Kernel } from './kernel.ts';
import type { FailureReason } from './metrics.ts';
import { identifyPeer, type Peer } from './peer.ts';
import type { Process } from './process.ts';
import { createProcesses, type Processes } from './processes.ts';

/** One accepted connection and the process at its other end. */
export interface PeerConnection {
  /** Unlike any other connection's; the socket's `remoteAddress`. */
  readonly id: string;
  readonly credentials: PeerCredentials;
  /**
   * The attested process: the same object for all its connections, verified anew at each call.
   * Rejects with `ERR_PEER_HIDDEN`, `ERR_PEER_GONE` or `ERR_ATTESTATION`.
   */
  caller(options: { signal: AbortSignal }): Promise<Caller>;
  /** Lets go of the process; when the socket is closed. */
  close(): void;
}

export interface Attestation {
  /** Identifies the peer of a socket that was just accepted; synchronous, never throws. */
  accept(socket: Socket): PeerConnection;
  /**
   * What the process with this pid would be attested as now. Rejects with `ERR_PEER_GONE` when there
   * is none. `look` sees it before it is attested, which the signal ends.
   */
  attestPid(
    pid: number,
    options?: { readonly signal?: AbortSignal; readonly look?: Look },
  ): Promise<ProcessDescription>;
  /** Processes that are pinned now. */
  readonly processes: number;
  close(): void;
}

export interface AttestationDeps {
  readonly kernel: Kernel;
  readonly attestors: readonly Attestor[];
  readonly clock: Clock;
  readonly log: Logger;
  /** Processes without a connection that stay pinned for a minute, two descriptors each. */
  readonly mostLingering: number;
  /**
   * What tells the programs apart that a process runs one after the other, where identities rest on
   * it. A connection counts for the program that made it: who holds it after an exec may be a child
   * of the former.
   */
  readonly programOf?: ((peer: Peer) => string | undefined) | undefined;
  /** Told of each peer whose calls are all refused, because nobody knows which process it is. */
  readonly onUnidentified?: (reason: FailureReason) => void;
}

/** What accepting a socket brought: a process, or the reason for which each call is refused. */
type Known = { readonly credentials: PeerCredentials } & (
  | { readonly process: Process; readonly refusal?: never }
  | { readonly process?: never; readonly refusal: IdentityError; readonly reason: FailureReason }
);

interface IdentifyDeps {
  readonly kernel: Kernel;
  readonly processes: Processes;
  readonly log: Logger;
}

/** Attests the processes behind sockets. Everybody is accepted; who is refused learns it per call. */
export function createAttestation(deps: AttestationDeps): Attestation {
  const { kernel, attestors, clock, mostLingering } = deps;
  const log = deps.log.child({ component: 'attestation' });
  const processes = createProcesses(kernel, clock, mostLingering);
  const callerOf = createCallers({ attestors, processes, log });
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  let count = 0;

  return {
    accept(socket) {
      const known = identify(socket, { kernel, processes, log });
      const { credentials, process, refusal } = known;
      const program = process && deps.programOf?.(process.peer);
      if (!process) deps.onUnidentified?.(known.reason);
      let open = true;
      return {
        id: `peer-${++count}`,
        credentials,
        async caller({ signal }) {
          if (!process) throw refusal;
          const caller = await callerOf(process, signal);
          if (program === undefined || deps.programOf?.(process.peer) === program) return caller;
          throw new IdentityError('ERR_PEER_GONE', 'the process runs another program by now');
        },
        close() {
          if (open && process) processes.leave(process);
          open = false;
        },
      };
    },
    attestPid: (pid, { signal, look } = {}) =>
      describeProcess(pid, deps, {
        signal: signal ? AbortSignal.any([signal, closing.signal]) : closing.signal,
        look,
      }),
    get processes() {
      return processes.size;
    },
    close() {
      closing.abort(new IdentityError('ERR_SHUTDOWN', 'credence is shutting down'));
      processes.close();
    },
  };
}

/** Pins the process at the other end of a socket that was just accepted. */
function identify(socket: Socket, deps: IdentifyDeps): Known {
  const { kernel, processes, log } = deps;
  let credentials = NOBODY;
  try {
    const fd = descriptorOf(socket);
    credentials = kernel.peerCredentials(fd);
    const identified = identifyPeer(fd, credentials, kernel);
    const { kind } = identified;
    if (kind === 'hidden') return { credentials, refusal: hidden(), reason: kind };
    if (kind === 'gone') return { credentials, refusal: gone(), reason: kind };
    return { credentials, process: processes.join(identified.peer) };
  } catch (thrown) {
    const fields = { peer_pid: credentials.pid, ...failureFields(thrown) };
    log.warn(fields, 'a peer could not be identified');
    const refusal = toIdentityError(thrown, 'ERR_ATTESTATION');
    return { credentials, refusal, reason: 'unreadable' };
  }
}

/** Node offers no public way to a socket's descriptor; `_handle.fd` has been stable for ten years. */
function descriptorOf(socket: Socket): number {
  const handle: unknown = Reflect.get(socket, '_handle');
  const fd: unknown =
    typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : -1;
  if (typeof fd !== 'number' || fd < 0) {
    throw new IdentityError('ERR_ATTESTATION', 'the socket was closed before it was looked at');
  }
  return fd;
}

function hidden(): IdentityError {
  return new IdentityError(
    'ERR_PEER_HIDDEN',
    'credence cannot see this process: it does not run in the pid namespace of the host (set hostPID: true)',
  );
}

function gone(): IdentityError {
  return new IdentityError('ERR_PEER_GONE', 'the process that connected has ended');
}
