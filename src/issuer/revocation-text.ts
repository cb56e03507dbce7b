import { createHash } from 'node:crypto';
import { IdentityError } from '../core/errors.ts';
import { spiffeIdFault, type SpiffeId } from '../identity/spiffe-id.ts';
import { MAX_CRL_ENTRIES, type CrlEntry } from './crl.ts';
import { isRevocationReason } from '../identity/revocation-reason.ts';
import { unusable } from './unusable.ts';

const VERSION = 1;

/** A revoked certificate, as long as it is listed in its issuer's CRL. */
export interface Revocation extends CrlEntry {
  /** Subject key identifier of the CA in whose CRL it is, lower-case hex. */
  readonly issuerKeyId: string;
  /** Undefined when only the serial number was known. */
  readonly spiffeId: SpiffeId | undefined;
  /** The certificate's end, or the latest that it can be. */
  readonly notAfterMs: number;
}

/** What a restart has to know of revocations. */
export interface RevocationState {
  readonly trustDomain: string;
  /** Below this, numbers of CRLs may have been used. */
  readonly nextNumber: number;
  readonly revoked: readonly Revocation[];
}

/** Its text: JSON for people to read, with a digest by which an edit is told. */
export function formatRevocations(state: RevocationState): string {
  const document = {
    version: VERSION,
    trust_domain: state.trustDomain,
    next_crl_number: state.nextNumber,
    revoked: state.revoked.map((one) => ({
      serial: one.serial,
      issuer_key_id: one.issuerKeyId,
      spiffe_id: one.spiffeId ?? null,
      reason: one.reason,
      revoked_at_ms: one.revokedAtMs,
      not_after_ms: one.notAfterMs,
    })),
  };
  return `${JSON.stringify({ ...document, digest: digestOf(document) }, undefined, 2)}\n`;
}

/** Reads it; `ERR_KEY_STORE`, naming `path`, for anything that this version did not write. */
export function parseRevocations(text: string, path: string): RevocationState {
  const { digest, ...document } = fieldsOf(parseJson(text, path));
  const { version } = document;
  if (typeof version === 'number' && version > VERSION) {
    throw new IdentityError(
      'ERR_KEY_STORE',
      `${path} has version ${version}, this credence knows up to ${VERSION}`,
      { hint: 'start the newer credence that wrote it' },
    );
  }
  if (version !== VERSION) throw corrupt(path, 'it has no known version');
  if (digest !== digestOf(document)) throw corrupt(path, 'it was edited, its digest does not fit');
  const { trust_domain: trustDomain, next_crl_number: nextNumber, revoked } = document;
  if (typeof trustDomain !== 'string') throw corrupt(path, 'trust_domain is missing');
  if (!isWhole(nextNumber)) throw corrupt(path, 'next_crl_number is not a whole number');
  if (!Array.isArray(revoked) || revoked.length > MAX_CRL_ENTRIES) {
    throw corrupt(path, `revoked is not a list of at most ${MAX_CRL_ENTRIES}`);
  }
  return { trustDomain, nextNumber, revoked: revoked.map((one, n) => parseOne(one, n, path)) };
}

function parseOne(item: unknown, index: number, path: string): Revocation {
  const fail = (what: string) => corrupt(path, `revoked[${index}]: ${what}`);
  const from = fieldsOf(item);
  const { serial, issuer_key_id: issuerKeyId, spiffe_id: id, reason } = from;
  const { revoked_at_ms: revokedAtMs, not_after_ms: notAfterMs } = from;
  if (typeof serial !== 'string' || !SERIAL.test(serial)) throw fail('serial is malformed');
  if (typeof issuerKeyId !== 'string' || !KEY_ID.test(issuerKeyId)) {
    throw fail('issuer_key_id is malformed');
  }
  if (id !== null && (typeof id !== 'string' || spiffeIdFault(id) !== undefined)) {
    throw fail('spiffe_id is malformed');
  }
  if (!isRevocationReason(reason)) throw fail('reason is unknown');
  if (!isWhole(revokedAtMs) || !isWhole(notAfterMs)) throw fail('a time is not a whole number');
  const spiffeId = id === null ? undefined : (id as SpiffeId);
  return { serial, issuerKeyId, spiffeId, reason, revokedAtMs, notAfterMs };
}

/** RFC 5280 4.1.2.2: up to 20 octets, as they stand in DER. */
const SERIAL = /^(?:[0-9a-f]{2}){1,21}$/;
/** Other makers of CAs choose other lengths. */
const KEY_ID = /^(?:[0-9a-f]{2}){1,64}$/;

function isWhole(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** Against mistakes with an editor: who may write here could make a digest too. */
function digestOf(document: object): string {
  return createHash('sha256').update(JSON.stringify(document)).digest('hex');
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (thrown) {
    throw corrupt(path, text === '' ? 'it is empty' : 'it is not JSON, or cut short', thrown);
  }
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function corrupt(path: string, why: string, cause?: unknown): IdentityError {
  return unusable(`the record of revocations ${path}`, why, cause);
}
