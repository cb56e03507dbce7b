import { createPrivateKey, type KeyObject } from 'node:crypto';
import { inspect } from 'node:util';
import { pemBytes } from './pem.ts';

const REDACTED = '[redacted]';

/** Key material that does not print: JSON, inspect and string conversion give `[redacted]`. */
export class PrivateKey {
  readonly #pkcs8: Uint8Array;

  /** @param pkcs8 DER of a PKCS#8 PrivateKeyInfo (RFC 5208); not copied. */
  constructor(pkcs8: Uint8Array) {
    this.#pkcs8 = pkcs8;
  }

  /** The PKCS#8 DER. */
  pkcs8(): Uint8Array {
    return this.#pkcs8;
  }

  /** PEM text as bytes (RFC 7468), label PRIVATE KEY. */
  pem(): Buffer {
    return pemBytes('PRIVATE KEY', this.#pkcs8);
  }

  keyObject(): KeyObject {
    return createPrivateKey({ key: Buffer.from(this.#pkcs8), format: 'der', type: 'pkcs8' });
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
