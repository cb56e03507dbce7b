import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { errorText, IdentityError } from '../core/errors.ts';
import { trustDomainFault, type TrustDomain } from '../identity/spiffe-id.ts';
import { bad } from './roots.ts';
import { MAX_BUNDLE_BYTES, parseBundle, type ForeignRoots } from './parse.ts';

const NAME = /^([^.].*)\.(?:pem|json)$/;
/** Other users may read a bundle: it is public. Who writes it decides whom is trusted. */
const OTHERS_WRITE = 0o002;

/** The trust domain that a file of this name is of: `TD.pem` or `TD.json`; undefined for any other name. */
export function trustDomainOfFile(name: string): TrustDomain | undefined {
  const [, domain] = NAME.exec(name) ?? [];
  if (domain === undefined || trustDomainFault(domain) !== undefined) return undefined;
  return domain as TrustDomain;
}

/** Reads a bundle's file; links are followed, a pipe is not waited for. Throws `ERR_BAD_REQUEST`. */
export function readBundleFile(path: string): ForeignRoots {
  try {
    return parseBundle(readText(path));
  } catch (thrown) {
    if (thrown instanceof IdentityError) throw thrown;
    throw bad(`it cannot be read: ${errorText(thrown)}`);
  }
}

function readText(path: string): string {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw bad('it is not a regular file');
    if ((stats.mode & OTHERS_WRITE) !== 0) throw bad('everybody may write it: chmod o-w');
    // One byte more than is allowed: it may grow while it is read.
    const bytes = Buffer.alloc(MAX_BUNDLE_BYTES + 1);
    let size = 0;
    for (let more = 1; more > 0 && size < bytes.length; size += more) {
      more = readSync(fd, bytes, size, bytes.length - size, null);
    }
    if (size > MAX_BUNDLE_BYTES) throw bad(`it is larger than ${MAX_BUNDLE_BYTES} bytes`);
    return bytes.toString('utf8', 0, size);
  } finally {
    closeSync(fd);
  }
}
