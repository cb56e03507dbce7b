import { IdentityError } from '../core/errors.ts';
import { isKeyType, type KeyType } from './key-type.ts';
import { unusable } from './unusable.ts';

const VERSION = 1;

/** A signing authority as the journal keeps it. */
export interface JournalAuthority {
  readonly role: 'root' | 'issuing';
  readonly state: 'active';
  readonly keyId: string;
  readonly keyType: KeyType;
  /** DER. */
  readonly certificate: Buffer;
}

/** What a restart continues with. */
export interface JournalState {
  readonly trustDomain: string;
  readonly bundleSequence: number;
  readonly authorities: readonly JournalAuthority[];
}

/** The journal's text: JSON for people to read, certificates as base64 of their DER. */
export function formatJournal(state: JournalState): string {
  const authorities = state.authorities.map((authority) => ({
    role: authority.role,
    state: authority.state,
    key_id: authority.keyId,
    key_type: authority.keyType,
    certificate: authority.certificate.toString('base64'),
  }));
  const document = {
    version: VERSION,
    trust_domain: state.trustDomain,
    bundle_sequence: state.bundleSequence,
    authorities,
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

/** Reads a journal's text; `ERR_KEY_STORE`, naming `path`, for anything this version did not write. */
export function parseJournal(text: string, path: string): JournalState {
  const document = fieldsOf(parseJson(text, path));
  const { version } = document;
  if (typeof version === 'number' && version > VERSION) {
    throw new IdentityError(
      'ERR_KEY_STORE',
      `${path} has version ${version}, this credence knows up to ${VERSION}`,
      { hint: 'start the newer credence that wrote it' },
    );
  }
  if (version !== VERSION) throw corrupt(path, 'it has no known version');
  const { trust_domain: trustDomain, bundle_sequence: bundleSequence, authorities } = document;
  if (typeof trustDomain !== 'string') throw corrupt(path, 'trust_domain is missing');
  if (typeof bundleSequence !== 'number' || !Number.isSafeInteger(bundleSequence)) {
    throw corrupt(path, 'bundle_sequence is not a whole number');
  }
  if (!Array.isArray(authorities)) throw corrupt(path, 'authorities is not a list');
  const list = authorities.map((item, index) => parseAuthority(item, index, path));
  checkRoles(list, path);
  return { trustDomain, bundleSequence, authorities: list };
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (thrown) {
    throw corrupt(path, text === '' ? 'it is empty' : 'it is not JSON, or cut short', thrown);
  }
}

function parseAuthority(item: unknown, index: number, path: string): JournalAuthority {
  const { role, state, key_id: keyId, key_type: keyType, certificate } = fieldsOf(item);
  const fail = (what: string) => corrupt(path, `authorities[${index}]: ${what}`);
  if (role !== 'root' && role !== 'issuing') throw fail('role is unknown');
  if (state !== 'active') throw fail('state is unknown');
  // The name becomes part of a file's path.
  if (typeof keyId !== 'string' || !/^[0-9a-f]{40}$/.test(keyId)) throw fail('key_id is malformed');
  if (!isKeyType(keyType)) throw fail('key_type is unknown');
  if (typeof certificate !== 'string') throw fail('certificate is missing');
  const bytes = Buffer.from(certificate, 'base64');
  if (bytes.length === 0 || bytes.toString('base64') !== certificate) {
    throw fail('certificate is not base64');
  }
  return { role, state, keyId, keyType, certificate: bytes };
}

function checkRoles(list: readonly JournalAuthority[], path: string): void {
  const count = (role: string) => list.filter((authority) => authority.role === role).length;
  if (count('root') > 1 || count('issuing') > 1) throw corrupt(path, 'a role appears twice');
  if (count('issuing') > count('root')) throw corrupt(path, 'the root is missing');
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function corrupt(path: string, why: string, cause?: unknown): IdentityError {
  return unusable(`the journal ${path}`, why, cause);
}
