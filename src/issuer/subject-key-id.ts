import { hash } from 'node:crypto';
import { DerReader, TAG } from '../core/der.ts';

/** Bytes of a key identifier. */
export const KEY_ID_BYTES = 20;

/**
 * Identifier of a public key: RFC 7093 2 (1), the leftmost 160 bits of SHA-256 over the key's bit
 * string. It only helps to find an issuer, so nothing rests on its strength.
 * @param spki DER of a SubjectPublicKeyInfo
 */
export function subjectKeyId(spki: Buffer): Buffer {
  const fields = new DerReader(spki).enter(TAG.sequence);
  fields.element(TAG.sequence);
  const bits = fields.content(TAG.bitString);
  return hash('sha256', bits.subarray(1), 'buffer').subarray(0, KEY_ID_BYTES);
}
