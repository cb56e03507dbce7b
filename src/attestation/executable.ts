import { createHash } from 'node:crypto';
import { readlinkSync, type BigIntStats } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { errorText, IdentityError } from '../core/errors.ts';
import type { Peer } from './peer.ts';

/** What the executable of a process says about it. */
export interface Executable {
  /** The link's text as the kernel gives it. */
  readonly path: string;
  /** Lower-case hex of the file's content. */
  readonly sha256: string;
}

/** Reads executables of processes; a file is hashed once, off the event loop. */
export type ExecutableReader = (
  peer: Pick<Peer, 'credentials' | 'executableLink' | 'hasExited'>,
  options: { signal: AbortSignal },
) => Promise<Executable>;

const MAX_CACHED = 256;
/** A file of this size takes seconds to hash; nobody runs a larger one as a proxy. */
const MAX_BYTES = 1024 ** 3;
/** A file system of its user's own may never answer; half of libuv's threads stay free. */
const MAX_AT_ONCE = 2;

export function createExecutableReader(options: { maxBytes?: number } = {}): ExecutableReader {
  const { maxBytes = MAX_BYTES } = options;
  const digests = new Map<string, Promise<string>>();
  const gate = createGate(MAX_AT_ONCE);

  async function digest(file: FileHandle): Promise<string> {
    const stats = await file.stat({ bigint: true });
    if (stats.size > maxBytes) {
      throw new Error(`it has ${stats.size} bytes, at most ${maxBytes} are hashed`);
    }
    const key = versionOf(stats);
    const known = digests.get(key);
    if (known) return known;
    const made = hashFile(file, stats);
    digests.set(key, made);
    made.catch(() => digests.delete(key));
    const oldest = digests.keys().next();
    if (digests.size > MAX_CACHED && !oldest.done) digests.delete(oldest.value);
    return made;
  }

  return async (peer, { signal }) => {
    await gate.enter();
    try {
      await using file = await open(peer.executableLink);
      // The link leads through a descriptor that a peer holds until it is closed: while it is not,
      // its number cannot have come to stand for another process.
      if (signal.aborted || peer.hasExited()) {
        throw new IdentityError('ERR_PEER_GONE', 'the process has ended');
      }
      // Both from the one open file, so they go together also when the process calls exec now.
      const path = readlinkSync(`/proc/self/fd/${file.fd}`);
      return { path, sha256: await digest(file) };
    } catch (thrown) {
      if (thrown instanceof IdentityError) throw thrown;
      throw new IdentityError(
        'ERR_ATTESTATION',
        `the executable of pid ${peer.credentials.pid} cannot be read: ${errorText(thrown)}`,
        { cause: thrown },
      );
    } finally {
      gate.leave();
    }
  };
}

function versionOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join('.');
}

async function hashFile(file: FileHandle, stats: BigIntStats): Promise<string> {
  const hash = createHash('sha256');
  let bytes = 0n;
  for await (const part of file.createReadStream({ autoClose: false }) as AsyncIterable<Buffer>) {
    hash.update(part);
    bytes += BigInt(part.length);
    if (bytes > stats.size) break;
  }
  const unchanged = versionOf(await file.stat({ bigint: true })) === versionOf(stats);
  if (bytes !== stats.size || !unchanged) throw new Error('it changed while it was read');
  return hash.digest('hex');
}

/** Lets a fixed number in at a time, the others in order of their coming. */
function createGate(places: number): { enter(): Promise<void>; leave(): void } {
  const waiting: (() => void)[] = [];
  let free = places;
  return {
    async enter() {
      if (free > 0) free--;
      else await new Promise<void>((resolve) => waiting.push(resolve));
    },
    leave() {
      const next = waiting.shift();
      if (next) next();
      else free++;
    },
  };
}
