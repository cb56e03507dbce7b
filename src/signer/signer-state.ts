import { errorText, IdentityError } from '../core/errors.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { readCaCertificate, type CaCertificate } from '../issuer/ca-certificate.ts';
import { isKeyType, type KeyType } from '../issuer/key-type.ts';
import { record, text } from '../kubernetes/fields.ts';

/** Prepared: trusted, signs nothing yet. Active: signs. Old: trusted while something below it lives. */
export type RootSlot = 'prepared' | 'active' | 'old';

export interface Root {
  readonly certificate: CaCertificate;
  /** Its key's name in the key manager. */
  readonly key: string;
  readonly keyType: KeyType;
  readonly slot: RootSlot;
  /** Since when it is where nodes read the roots; undefined: it is not there yet. */
  readonly publishedAtMs: number | undefined;
  /** Of an old one: when it leaves. */
  readonly untilMs: number | undefined;
  /** A node that was cut off may have a CA below it: it leaves as soon as all others can do without. */
  readonly isTainted: boolean;
}

/** What all replicas agree on. */
export interface SignerState {
  /** Grows with every change, never falls. */
  readonly revision: number;
  readonly roots: readonly Root[];
  /** Nodes that get nothing any more, and since when. */
  readonly revoked: ReadonlyMap<string, number>;
}

export const NO_STATE: SignerState = { revision: 0, roots: [], revoked: new Map() };

const FORMAT = 1;
const SLOTS: readonly unknown[] = ['prepared', 'active', 'old'];
/** One is active, one prepared; more than a few old ones nobody makes. */
const MAX_ROOTS = 32;

/** The name of a root for people and for daemons: its subject key identifier. */
export const rootName = ({ certificate }: Pick<Root, 'certificate'>) =>
  certificate.keyId.toString('hex');

export function serializeState({ revision, roots, revoked }: SignerState): string {
  return JSON.stringify({
    format: FORMAT,
    revision,
    roots: roots.map((root) => ({
      certificate: root.certificate.der.toString('base64'),
      key: root.key,
      key_type: root.keyType,
      slot: root.slot,
      published_at_ms: root.publishedAtMs,
      until_ms: root.untilMs,
      tainted: root.isTainted,
    })),
    revoked: Object.fromEntries(revoked),
  });
}

/**
 * Reads what `serializeState` wrote. Throws `ERR_KEY_STORE` for anything else: to begin anew would be
 * another root, which no node trusts, and would let cut off nodes in again.
 */
export function parseState(json: string, trustDomain: TrustDomain): SignerState {
  let document: unknown;
  try {
    document = JSON.parse(json);
  } catch {
    // What the parser says quotes the text.
    throw unusable('it is no JSON');
  }
  const { format, revision, roots, revoked } = record(document);
  if (format !== FORMAT) {
    throw unusable(`it has format ${String(format).slice(0, 20)}, expected ${FORMAT}`);
  }
  if (!isCount(revision)) throw unusable('its revision is no whole number');
  if (!Array.isArray(roots) || roots.length > MAX_ROOTS) throw unusable('it has no list of roots');
  const read = roots.map((root, n) => readRoot(root, n + 1, trustDomain));
  for (const slot of ['active', 'prepared'] as const) {
    const count = read.filter((root) => root.slot === slot).length;
    if (count > 1) throw unusable(`it has ${count} ${slot} roots`);
  }
  return { revision, roots: read, revoked: readRevoked(revoked) };
}

function readRoot(value: unknown, n: number, trustDomain: TrustDomain): Root {
  const fields = record(value);
  const { key_type: keyType, slot, published_at_ms, until_ms, tainted } = fields;
  const key = text(fields['key']);
  if (!isKeyType(keyType) || !SLOTS.includes(slot) || key === '') {
    throw unusable(`root ${n} lacks its key, the type of that or its slot`);
  }
  return {
    certificate: readCertificate(text(fields['certificate']), n, trustDomain),
    ...{ key, keyType, slot: slot as RootSlot },
    publishedAtMs: isCount(published_at_ms) ? published_at_ms : undefined,
    untilMs: isCount(until_ms) ? until_ms : undefined,
    isTainted: tainted === true,
  };
}

function readCertificate(base64: string, n: number, trustDomain: TrustDomain): CaCertificate {
  try {
    return readCaCertificate(Buffer.from(base64, 'base64'), trustDomain);
  } catch (thrown) {
    throw unusable(`root ${n}: ${errorText(thrown)}`, thrown);
  }
}

function readRevoked(value: unknown): ReadonlyMap<string, number> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw unusable('it does not say which nodes are revoked');
  }
  const entries = Object.entries(value);
  // A time that cannot be read is no reason to let a node in again.
  return new Map(entries.map(([node, atMs]) => [node, isCount(atMs) ? atMs : 0]));
}

const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0;

function unusable(why: string, cause?: unknown): IdentityError {
  return new IdentityError('ERR_KEY_STORE', `cannot use the state of the signer: ${why}`, {
    cause,
    hint: "restore the signer's Secret from a backup; without it a new root is made, which every node then has to learn",
  });
}
