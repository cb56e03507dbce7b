import { IdentityError } from '../core/errors.ts';

/** RFC 5280 4.1.2.2. */
const MAX_OCTETS = 20;

/**
 * A certificate's serial number as the content of its DER, lower-case hex; from the ways in which
 * OpenSSL, Envoy and browsers print it: `4F:0A`, `4f0a`, `0x4F0A`. Throws `ERR_BAD_REQUEST`.
 */
export function parseSerial(text: string): string {
  const digits = text.replace(/^0x/i, '').replaceAll(':', '').toLowerCase();
  const plain = digits.replace(/^0+(?=.)/, '');
  if (!/^[0-9a-f]+$/.test(digits) || plain === '0' || plain.length > 2 * MAX_OCTETS) {
    throw new IdentityError(
      'ERR_BAD_REQUEST',
      `a serial number is a number above 0 of at most ${MAX_OCTETS} octets in hex`,
    );
  }
  const even = plain.length % 2 === 0 ? plain : `0${plain}`;
  // A set first bit would make it negative (X.690 8.3.3).
  return Number.parseInt(even.slice(0, 2), 16) < 0x80 ? even : `00${even}`;
}
