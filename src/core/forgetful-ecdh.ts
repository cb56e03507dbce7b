import { createECDH, type ECDH } from 'node:crypto';

/** The number 1 is nobody's key. */
const NOBODY = Buffer.of(1);

/**
 * An `ECDH` to be used again and again, as to make one costs as much as to use it, which keeps no
 * private key beyond the turn of the event loop it was asked for in: another number takes the place,
 * and OpenSSL clears what is replaced. Once a turn, because with P-256 that takes 10 µs.
 */
export function createForgetfulEcdh(curve: string): () => ECDH {
  const ecdh = createECDH(curve);
  let used = false;
  const forget = (): void => {
    used = false;
    ecdh.setPrivateKey(NOBODY);
  };
  return () => {
    if (!used) setImmediate(forget);
    used = true;
    return ecdh;
  };
}
