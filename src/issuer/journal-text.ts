import { hash } from 'node:crypto';
import { errorText, IdentityError } from '../core/errors.ts';
import { parseAuthorities1 } from './journal-version-1.ts';
import { fingerprint, type CaEntry, type CaState, type RootEntry } from './ca-state.ts';
import { consistencyFault } from './journal-checks.ts';
import {
  certificate,
  fieldsOf,
  flag,
  Fault,
  keyName,
  list,
  slot,
  text,
  whole,
} from './journal-fields.ts';
import { unusable } from './unusable.ts';

const VERSION = 2;
const MAX_ENTRIES = 256;
const MAX_CHAIN = 16;

/** The journal's text: JSON for people to read, certificates as base64 of their DER. */
export function formatJournal(state: CaState): string {
  const document = {
    version: VERSION,
    trust_domain: state.trustDomain,
    bundle_sequence: state.bundleSequence,
    written_ms: state.writtenMs,
    longest_ttl_ms: state.longestTtlMs,
    roots: state.roots.map((root) => ({
      ...lifeFields(root),
      told: root.told,
      key_id: root.key?.id ?? null,
      key_type: root.key?.type ?? null,
      certificate: root.certificate.der.toString('base64'),
    })),
    issuing: state.issuing.map((ca) => ({
      ...lifeFields(ca),
      upstream: ca.upstream,
      root: ca.root,
      key_id: ca.key.id,
      key_type: ca.key.type,
      chain: ca.chain.map(({ der }) => der.toString('base64')),
    })),
  };
  return `${JSON.stringify({ ...document, digest: digestOf(document) }, undefined, 2)}\n`;
}

/**
 * Reads a journal's text; `ERR_KEY_STORE`, naming `path`, for anything that neither this version nor
 * the one before it wrote, and for what somebody has changed since.
 */
export function parseJournal(source: string, path: string): CaState {
  const document = fieldsOf(parseJson(source, path));
  const { version } = document;
  if (typeof version === 'number' && version > VERSION) {
    throw new IdentityError(
      'ERR_KEY_STORE',
      `${path} has version ${version}, this credence knows up to ${VERSION}`,
      { hint: 'start the newer credence that wrote it' },
    );
  }
  try {
    const state = version === 1 ? parse1(document) : parse2(document);
    const fault = consistencyFault(state);
    if (fault !== undefined) throw new Fault(fault);
    return state;
  } catch (thrown) {
    throw corrupt(path, errorText(thrown), thrown);
  }
}

function parse2({ digest, ...document }: Readonly<Record<string, unknown>>): CaState {
  if (document['version'] !== VERSION) throw new Fault('it has no known version');
  // Not a proof against anybody who can write here, but against slips of people and disks.
  if (digest !== digestOf(document)) {
    throw new Fault('its digest does not fit: it was edited or damaged');
  }
  return {
    ...header(document),
    writtenMs: whole(document, 'written_ms'),
    longestTtlMs: whole(document, 'longest_ttl_ms'),
    roots: list(document, 'roots', MAX_ENTRIES, parseRoot),
    issuing: list(document, 'issuing', MAX_ENTRIES, parseCa),
  };
}

/** One root and one CA, always in use. */
function parse1(document: Readonly<Record<string, unknown>>): CaState {
  const { root, issuing } = parseAuthorities1(document);
  const life = {
    state: 'active',
    sinceMs: 0,
    untilMs: undefined,
    tainted: false,
    revoked: false,
  } as const;
  const [first] = issuing ? [issuing.certificate] : [];
  return {
    ...header(document),
    writtenMs: 0,
    // It was not kept: no SVID has lived longer than its CA.
    longestTtlMs: first ? first.validity.notAfterMs - first.validity.notBeforeMs : 0,
    roots: root ? [{ ...life, certificate: root.certificate, key: root.key, told: false }] : [],
    issuing:
      root && issuing && first
        ? [
            {
              ...{ ...life, key: issuing.key, chain: [first], upstream: 'self_signed' },
              root: fingerprint(root.certificate),
            },
          ]
        : [],
  };
}

function header(document: Readonly<Record<string, unknown>>) {
  return {
    trustDomain: text(document, 'trust_domain'),
    bundleSequence: whole(document, 'bundle_sequence'),
  };
}

function parseRoot(fields: Readonly<Record<string, unknown>>): RootEntry {
  return {
    ...parseLife(fields),
    told: flag(fields, 'told'),
    key: fields['key_id'] === null ? undefined : keyName(fields),
    certificate: certificate(fields['certificate'], 'certificate'),
  };
}

function parseCa(fields: Readonly<Record<string, unknown>>): CaEntry {
  const chain = list(fields, 'chain', MAX_CHAIN, (_, item) => certificate(item, 'chain'));
  const [first, ...rest] = chain;
  if (!first) throw new Fault('chain is empty');
  return {
    ...parseLife(fields),
    upstream: text(fields, 'upstream'),
    root: text(fields, 'root'),
    key: keyName(fields),
    chain: [first, ...rest],
  };
}

function lifeFields({ state, sinceMs, untilMs, tainted, revoked }: RootEntry | CaEntry) {
  return { state, since_ms: sinceMs, until_ms: untilMs ?? null, tainted, revoked };
}

function parseLife(fields: Readonly<Record<string, unknown>>) {
  return {
    state: slot(fields),
    sinceMs: whole(fields, 'since_ms'),
    untilMs: fields['until_ms'] === null ? undefined : whole(fields, 'until_ms'),
    tainted: flag(fields, 'tainted'),
    revoked: flag(fields, 'revoked'),
  };
}

function digestOf(document: unknown): string {
  return hash('sha256', JSON.stringify(document), 'hex');
}

function parseJson(source: string, path: string): unknown {
  try {
    return JSON.parse(source);
  } catch (thrown) {
    throw corrupt(path, source === '' ? 'it is empty' : 'it is not JSON, or cut short', thrown);
  }
}

function corrupt(path: string, why: string, cause?: unknown): IdentityError {
  return unusable(`the journal ${path}`, why, cause);
}
