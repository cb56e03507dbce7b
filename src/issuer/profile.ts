import { IdentityError } from '../core/errors.ts';
import type { Random } from '../core/random.ts';
import { dnsNameFault } from '../identity/dns-name.ts';
import { spiffeIdFault, trustDomainOf, type SpiffeId } from '../identity/spiffe-id.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { der, TAG } from '../core/der.ts';
import { LAST_TIME_MS } from '../core/der-time.ts';

/** NotBefore lies this far back, for peers whose clocks run behind. */
export const BACKDATE_MS = 10_000;
/** RFC 5280 4.1.2.2 allows 20 octets; 16 hold more randomness than any rule asks for. */
export const SERIAL_BYTES = 16;
const MIN_TTL_MS = 1000;
const MAX_DNS_NAMES = 256;

/** What a caller of the issuer asks for. */
export interface MintRequest {
  readonly id: SpiffeId;
  /** Undefined: the configured lifetime. The issuing CA's end shortens it. */
  readonly ttlMs?: number | undefined;
  readonly dnsNames: readonly string[];
}

/** Seconds, written as milliseconds; both ends belong to the validity (RFC 5280 4.1.2.5). */
export interface Validity {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

const oid = (hex: string) => der(TAG.oid, Buffer.from(hex, 'hex'));

/** The OID 2.5.29.`last`, as DER. */
export function extensionOid(last: number): Buffer {
  return oid(`551d${last.toString(16).padStart(2, '0')}`);
}

export const CRITICAL = der(TAG.boolean, Buffer.of(0xff));

/** Refuses, with `ERR_ISSUER`, what this issuer must never sign (X5-03, SV-01). */
export function checkMintRequest(request: MintRequest, trustDomain: TrustDomain): void {
  const { id, ttlMs, dnsNames } = request;
  const fault = spiffeIdFault(id);
  if (fault) throw refused(`${JSON.stringify(id)} is not a workload's SPIFFE ID: ${fault}`);
  if (trustDomainOf(id) !== trustDomain) {
    throw refused(`${id} is not in the trust domain ${trustDomain}`);
  }
  if (ttlMs !== undefined && !(ttlMs >= MIN_TTL_MS)) {
    throw refused(`${id} asks for a lifetime of ${ttlMs} ms, at least ${MIN_TTL_MS} are needed`);
  }
  if (dnsNames.length > MAX_DNS_NAMES) {
    throw refused(`${id} has ${dnsNames.length} DNS names, at most ${MAX_DNS_NAMES} are allowed`);
  }
  for (const name of dnsNames) {
    const wrong = dnsNameFault(name);
    if (wrong) throw refused(`${id} has the malformed DNS name ${JSON.stringify(name)}: ${wrong}`);
  }
}

function refused(why: string): IdentityError {
  return new IdentityError('ERR_ISSUER', `cannot sign: ${why}`);
}

/** From a little before now until `ttlMs` from now, but never beyond the issuer's own end. */
export function validityFrom(nowMs: number, ttlMs: number, issuerNotAfterMs: number): Validity {
  const last = Math.min(nowMs + ttlMs, issuerNotAfterMs, LAST_TIME_MS);
  return { notBeforeMs: wholeSecond(nowMs - BACKDATE_MS), notAfterMs: wholeSecond(last) };
}

function wholeSecond(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}

/** The next serial number, as its DER content. */
type SerialSource = () => Buffer;

/**
 * Draws serial numbers: always 16 bytes, positive and without a leading zero, so that their DER has
 * one length; 126 bits stay random. Drawn 64 at a time, a call to the generator costs 2 µs.
 */
export function createSerials(random: Random): SerialSource {
  let pool: Buffer = Buffer.alloc(0);
  let at = 0;
  return () => {
    if (at >= pool.length) {
      pool = random.bytes(64 * SERIAL_BYTES);
      at = 0;
    }
    const serial = pool.subarray(at, at + SERIAL_BYTES);
    at += SERIAL_BYTES;
    serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
    return serial;
  };
}
