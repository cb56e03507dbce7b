import type { Socket } from 'node:net';
import type { Clock } from '../core/clock.ts';
import { abortReason } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Caller, PeerCredentials } from '../identity/caller.ts';
import { gatherSelectors, type Attestor } from './attestor.ts';
import { describeProcess, type ProcessDescription } from './by-pid.ts';
import type { Kernel } from './kernel.ts';
import { credentialsChanged, identifyPeer } from './peer.ts';
import { createProcesses, type Process } from './processes.ts';

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
   * is none.
   */
  attestPid(pid: number): Promise<ProcessDescription>;
  /** Processes that are pinned now. */
  readonly processes: number;
  close(): void;
}

export interface AttestationDeps {
  readonly kernel: Kernel;
  readonly attestors: readonly Attestor[];
  readonly clock: Clock;
  readonly log: Logger;
}

/** What accepting a socket brought: a process, or the reason for which each call is refused. */
type Known = { readonly credentials: PeerCredentials } & (
  | { readonly process: Process; readonly refusal?: never }
  | { readonly process?: never; readonly refusal: IdentityError }
);

const NOBODY: PeerCredentials = { pid: 0, uid: 0xffffffff, gid: 0xffffffff };

/** Attests the processes behind sockets. Everybody is accepted; who is refused learns it per call. */
export function createAttestation(deps: AttestationDeps): Attestation {
  const { kernel, attestors, clock } = deps;
  const log = deps.log.child({ component: 'attestation' });
  const processes = createProcesses(kernel, clock);
  const closing = new AbortController();
  let count = 0;

  function identify(socket: Socket): Known {
    let credentials = NOBODY;
    try {
      const fd = descriptorOf(socket);
      credentials = kernel.peerCredentials(fd);
      const identified = identifyPeer(fd, credentials, kernel);
      if (identified.kind === 'hidden') return { credentials, refusal: hidden() };
      if (identified.kind === 'gone') return { credentials, refusal: gone() };
      return { credentials, process: processes.join(identified.peer) };
    } catch (thrown) {
      log.warn({ peer_pid: credentials.pid, err: thrown }, 'a peer could not be identified');
      return { credentials, refusal: toIdentityError(thrown, 'ERR_ATTESTATION') };
    }
  }

  async function attest(process: Process): Promise<Caller> {
    const { peer, gone } = process;
    const options = { signal: gone.signal };
    const selectors = await gatherSelectors(attestors, peer, options);
    verify(process, peer.credentials);
    const caller: Caller = {
      key: peer.key,
      credentials: peer.credentials,
      selectors,
      gone: gone.signal,
      isAlive: () => processes.isAlive(process),
    };
    log.debug(
      {
        peer_pid: peer.credentials.pid,
        peer_uid: peer.credentials.uid,
        selectors: caller.selectors,
      },
      'process attested',
    );
    return caller;
  }

  /** Still the process that connected, alive, with the user and group it connected with. */
  function verify(process: Process, credentials: PeerCredentials): void {
    if (process.gone.signal.aborted) throw abortReason(process.gone.signal);
    const { peer } = process;
    if (!peer.hasExited() && peer.keepsCredentials()) return;
    const reason = peer.hasExited() ? 'the process has ended' : credentialsChanged(credentials);
    const error = new IdentityError('ERR_PEER_GONE', reason);
    processes.retire(process, error);
    throw error;
  }

  async function callerOf(process: Process, signal: AbortSignal): Promise<Caller> {
    // The first look is the attestors' own: they read what says whether it is still the same.
    if (process.caller) verify(process, process.peer.credentials);
    process.caller ??= attest(process).catch((thrown: unknown) => {
      // Not kept: the next stream tries again.
      process.caller = undefined;
      const ended = process.peer.hasExited();
      const error = toIdentityError(thrown, ended ? 'ERR_PEER_GONE' : 'ERR_ATTESTATION');
      log.info(
        { peer_pid: process.peer.credentials.pid, code: error.code, err: error },
        'attestation failed',
      );
      throw error;
    });
    const caller = await unlessAborted(process.caller, signal);
    verify(process, process.peer.credentials);
    return caller;
  }

  return {
    accept(socket) {
      const { credentials, process, refusal } = identify(socket);
      let open = true;
      return {
        id: `peer-${++count}`,
        credentials,
        caller({ signal }) {
          return process ? callerOf(process, signal) : Promise.reject(refusal);
        },
        close() {
          if (open && process) processes.leave(process);
          open = false;
        },
      };
    },
    attestPid: (pid) => describeProcess(pid, deps, { signal: closing.signal }),
    get processes() {
      return processes.size;
    },
    close() {
      closing.abort(new IdentityError('ERR_SHUTDOWN', 'credence is shutting down'));
      processes.close();
    },
  };
}

/** Settles like the promise, or rejects as soon as the signal is aborted. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(abortReason(signal));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    const settle = () => signal.removeEventListener('abort', onAbort);
    promise.then(resolve, reject).finally(settle);
  });
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
