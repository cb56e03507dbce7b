import { createPrivateKey, type KeyObject } from 'node:crypto';
import { inspect } from 'node:util';
import { IdentityError } from '../core/errors.ts';
import { pemBytes } from './pem.ts';

const REDACTED = '[redacted]';

/**
 * Key material that does not print: JSON, inspect and string conversion give `[redacted]`. Its owner
 * wipes it when nobody needs it any more; whoever asks for it after that gets `ERR_BUG`, no zeros.
 */
export class PrivateKey {
  readonly #pkcs8: Uint8Array;
  #wiped = false;

  /** @param pkcs8 DER of a PKCS#8 PrivateKeyInfo (RFC 5208); not copied, and filled by `wipe`. */
  constructor(pkcs8: Uint8Array) {
    this.#pkcs8 = pkcs8;
  }

  /** The PKCS#8 DER itself, not a copy. */
  pkcs8(): Uint8Array {
    if (this.#wiped) throw new IdentityError('ERR_BUG', 'a private key is used after it was wiped');
    return this.#pkcs8;
  }

  /** PEM text as bytes (RFC 7468), label PRIVATE KEY; a copy, which is the caller's to fill. */
  pem(): Buffer {
    return pemBytes('PRIVATE KEY', this.pkcs8());
  }

  /** For OpenSSL, which clears its own copy when the object is collected. */
  keyObject(): KeyObject {
    const { buffer, byteOffset, byteLength } = this.pkcs8();
    const key = Buffer.from(buffer, byteOffset, byteLength);
    return createPrivateKey({ key, format: 'der', type: 'pkcs8' });
  }

  /** Fills the bytes with zeros. */
  wipe(): void {
    this.#wiped = true;
    this.#pkcs8.fill(0);
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}
