import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { readlinkSync, type BigIntStats } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { abortReason, systemClock, type Clock } from '../core/clock.ts';
import { errorText, IdentityError } from '../core/errors.ts';
import { createFairGate } from './fair-gate.ts';
import type { Peer } from './peer.ts';
import { programAt } from './program.ts';

/** What the executable of a process says about it. */
export interface Executable {
  /** The link's text as the kernel gives it. */
  readonly path: string;
  /** Lower-case hex of the file's content. */
  readonly sha256: string;
  /** What `programAt` the process's link says while it runs this file. */
  readonly program: string;
}

/**
 * Reads executables of processes; a file is hashed once, in portions between which the event loop
 * turns. Rejects with `ERR_ATTESTATION` also when that takes too long, as for a file system that
 * does not answer.
 */
export type ExecutableReader = (
  peer: Pick<Peer, 'credentials' | 'executableLink' | 'hasExited'>,
  options: { signal: AbortSignal },
) => Promise<Executable>;

const MAX_CACHED = 256;
/** A file of this size takes seconds to hash; nobody runs a larger one as a proxy. */
const MAX_BYTES = 1024 ** 3;
/** A file system of its user's own may never answer; half of libuv's threads stay free. */
const MAX_AT_ONCE = 2;
/** From asking to answer, with the wait for others in between. */
const TIMEOUT_MS = 30_000;
/** Hashed in well under a millisecond. */
const PORTION_BYTES = 256 * 1024;

export function createExecutableReader(
  options: { maxBytes?: number; clock?: Clock } = {},
): ExecutableReader {
  const { maxBytes = MAX_BYTES, clock = systemClock } = options;
  const digest = createDigests(maxBytes);
  const gate = createFairGate(MAX_AT_ONCE);

  async function read(peer: Parameters<ExecutableReader>[0], signal: AbortSignal) {
    await using file = await open(peer.executableLink);
    // The link leads through a descriptor that a peer holds until it is closed: while it is not,
    // its number cannot have come to stand for another process.
    if (signal.aborted) throw abortReason(signal);
    if (peer.hasExited()) throw new IdentityError('ERR_PEER_GONE', 'the process has ended');
    // All from the one open file, so they go together also when the process calls exec now.
    const link = `/proc/self/fd/${file.fd}`;
    const program = programAt(link);
    if (program === undefined) throw new Error('the kernel does not say which file it is');
    return { path: readlinkSync(link), program, sha256: await digest(file, signal) };
  }

  return async (peer, { signal }) => {
    const { pid, uid } = peer.credentials;
    const deadline = withDeadline(signal, clock);
    try {
      return await gate.run(uid, () => read(peer, deadline.signal), deadline.signal);
    } catch (thrown) {
      if (thrown instanceof IdentityError) throw thrown;
      throw new IdentityError(
        'ERR_ATTESTATION',
        `the executable of pid ${pid} cannot be read: ${errorText(thrown)}`,
        { cause: thrown },
      );
    } finally {
      deadline.clear();
    }
  };
}

/** A signal that is aborted with the given one, or when it has taken too long. */
function withDeadline(signal: AbortSignal, clock: Clock) {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  const onAbort = () => controller.abort(abortReason(signal));
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  const timer = clock.after(TIMEOUT_MS, () => {
    controller.abort(new Error(`it took longer than ${TIMEOUT_MS / 1000} s`));
  });
  return {
    signal: controller.signal,
    clear() {
      timer.cancel();
      signal.removeEventListener('abort', onAbort);
    },
  };
}

/** Digests of open files, each made once while the file stays as it is. */
function createDigests(maxBytes: number) {
  const digests = new Map<string, Promise<string>>();

  function make(key: string, file: FileHandle, stats: BigIntStats, signal: AbortSignal) {
    const made = hashFile(file, stats, signal);
    digests.set(key, made);
    made.catch(() => {
      if (digests.get(key) === made) digests.delete(key);
    });
    const oldest = digests.keys().next();
    if (digests.size > MAX_CACHED && !oldest.done) digests.delete(oldest.value);
    return made;
  }

  return async (file: FileHandle, signal: AbortSignal): Promise<string> => {
    const stats = await file.stat({ bigint: true });
    if (stats.size > maxBytes) {
      throw new Error(`it has ${stats.size} bytes, at most ${maxBytes} are hashed`);
    }
    const key = versionOf(stats);
    for (let known = digests.get(key); known; known = digests.get(key)) {
      const digest = await known.catch(() => undefined);
      if (digest !== undefined) return digest;
      // Another's work ends with that one's process: then it is ours to do.
      if (signal.aborted) throw abortReason(signal);
    }
    return make(key, file, stats, signal);
  };
}

function versionOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join('.');
}

async function hashFile(
  file: FileHandle,
  stats: BigIntStats,
  signal: AbortSignal,
): Promise<string> {
  const hash = createHash('sha256');
  const portion = Buffer.allocUnsafe(PORTION_BYTES);
  let bytes = 0;
  // One more read than there should be: the file may have grown.
  while (bytes <= stats.size) {
    const { bytesRead } = await file.read(portion, 0, PORTION_BYTES, bytes);
    if (signal.aborted) throw abortReason(signal);
    if (bytesRead === 0) break;
    hash.update(portion.subarray(0, bytesRead));
    bytes += bytesRead;
  }
  const unchanged = versionOf(await file.stat({ bigint: true })) === versionOf(stats);
  if (BigInt(bytes) !== stats.size || !unchanged) throw new Error('it changed while it was read');
  return hash.digest('hex');
}
