import { createHash } from 'node:crypto';
import { createReadStream, readlinkSync, statSync, type BigIntStats } from 'node:fs';
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
  peer: Peer,
  options: { signal: AbortSignal },
) => Promise<Executable>;

const MAX_CACHED = 256;
/** A file of this size takes seconds to hash; nobody runs a larger one as a proxy. */
const MAX_BYTES = 1024 ** 3;

export function createExecutableReader(): ExecutableReader {
  const digests = new Map<string, Promise<string>>();

  function digest(link: string, stats: BigIntStats): Promise<string> {
    const key = [stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join('.');
    const known = digests.get(key);
    if (known) return known;
    const made = hashFile(link);
    digests.set(key, made);
    made.catch(() => digests.delete(key));
    const oldest = digests.keys().next();
    if (digests.size > MAX_CACHED && !oldest.done) digests.delete(oldest.value);
    return made;
  }

  return async (peer, { signal }) => {
    try {
      // Through /proc, so the file itself, whatever its path means in our mount namespace.
      const path = readlinkSync(peer.executableLink);
      const stats = statSync(peer.executableLink, { bigint: true });
      if (stats.size > MAX_BYTES) {
        throw new Error(`it has ${stats.size} bytes, at most ${MAX_BYTES} are hashed`);
      }
      const sha256 = await digest(peer.executableLink, stats);
      signal.throwIfAborted();
      return { path, sha256 };
    } catch (thrown) {
      throw new IdentityError(
        'ERR_ATTESTATION',
        `the executable of pid ${peer.credentials.pid} cannot be read: ${errorText(thrown)}`,
        { cause: thrown },
      );
    }
  };
}

function hashFile(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const hash = createHash('sha256');
    createReadStream(path)
      .on('data', (part) => hash.update(part))
      .on('error', reject)
      .on('end', () => resolve(hash.digest('hex')));
  });
}
