import type { Clock } from '../core/clock.ts';
import { errorText, IdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { buildCaCertificate } from './ca-builder.ts';
import { checkIssuedBy, readCaCertificate, type CaCertificate } from './ca-certificate.ts';
import type { JournalAuthority, JournalState } from './journal.ts';
import type { KeyType } from './key-type.ts';
import type { SigningKey } from './keys.ts';
import { createSerials, validityFrom, type Validity } from './profile.ts';
import { refuseLostJournal, type AuthorityStore } from './store.ts';

/** A signing authority: its certificate and the key that fits it. */
export interface Authority {
  readonly certificate: CaCertificate;
  readonly key: SigningKey;
}

interface AuthoritiesConfig {
  readonly trustDomain: TrustDomain;
  readonly caKeyType: KeyType;
  readonly caTtlMs: number;
  readonly rootTtlMs: number;
}

export interface AuthoritiesDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** The root and the CA below it, kept in the store; the one writer of the journal. */
export interface Authorities {
  readonly root: Authority;
  /** The issuing CA; undefined before the first, and when the one in the journal is out of date. */
  issuing(): Authority | undefined;
  /**
   * Puts a new issuing CA in place of the old. `ERR_DISK` and `ERR_KEY_STORE` leave the old one,
   * in memory and on disk; an aborted signal does too.
   */
  replaceIssuing(options: { signal: AbortSignal }): Promise<Authority>;
  readonly bundleSequence: number;
}

/** Whether a certificate is valid now, and for long enough to be worth signing with. */
export function isValidAt(validity: Validity, nowMs: number): boolean {
  return validity.notBeforeMs <= nowMs && nowMs + 1000 <= validity.notAfterMs;
}

/**
 * Continues with the authorities of the store, or makes the first root when there never was one.
 * Throws `ERR_KEY_STORE` for anything in the store that does not fit together, `ERR_DISK`, and
 * `ERR_ISSUER` for a root whose time is not now. Never makes a second root.
 */
export async function openAuthorities(
  store: AuthorityStore,
  config: AuthoritiesConfig,
  deps: AuthoritiesDeps,
): Promise<Authorities> {
  const { clock, random, log } = deps;
  const { trustDomain, caKeyType } = config;
  const nextSerial = createSerials(random);
  let state = store.journal.read() ?? (await createJournal());
  checkTrustDomain(state, config, store.journal.path);
  const known = readAuthorities(state, trustDomain, store.journal.path);
  const root = (known.root && (await withKey(known.root))) ?? (await createRoot());
  checkRootTime(root.certificate, clock.now());
  let issuing =
    known.issuing && isValidAt(known.issuing.certificate.validity, clock.now())
      ? await withKey(known.issuing)
      : undefined;
  await prune();

  async function createJournal(): Promise<JournalState> {
    await refuseLostJournal(store);
    // The clock as the first number: a daemon that lost its disk still never counts backwards.
    const bundleSequence = Math.floor(clock.now() / 1000);
    const first = { trustDomain, bundleSequence, authorities: [] };
    store.journal.write(first);
    return first;
  }

  async function withKey({ entry, certificate }: Known): Promise<Authority> {
    const key = await store.keys.load(entry.keyId, entry.keyType);
    if (key.spki.equals(certificate.spki)) return { certificate, key };
    throw unusable(store.journal.path, entry, `the key ${entry.keyId} does not fit it`);
  }

  async function createRoot(): Promise<Authority> {
    const key = await store.keys.generate(caKeyType);
    const validity = validityFrom(clock.now(), config.rootTtlMs, Infinity);
    const serial = nextSerial();
    const request = { trustDomain, key, serial, validity, issuer: undefined };
    const certificate = await buildCaCertificate(request);
    const authorities = [toEntry('root', { certificate, key })];
    save({ trustDomain, bundleSequence: state.bundleSequence + 1, authorities });
    log.info(describe(certificate), 'made a self-signed root');
    return { certificate, key };
  }

  /** The key is on disk before the journal names it. */
  async function replaceIssuing({ signal }: { signal: AbortSignal }): Promise<Authority> {
    checkRootTime(root.certificate, clock.now());
    const key = await store.keys.generate(caKeyType);
    try {
      const end = root.certificate.validity.notAfterMs;
      const validity = validityFrom(clock.now(), config.caTtlMs, end);
      const serial = nextSerial();
      const request = { trustDomain, key, serial, validity, issuer: root };
      const certificate = await buildCaCertificate(request);
      signal.throwIfAborted();
      const next = { certificate, key };
      save({ ...state, authorities: [toEntry('root', root), toEntry('issuing', next)] });
      issuing = next;
    } finally {
      await prune();
    }
    log.info(describe(issuing.certificate), 'made an issuing CA');
    return issuing;
  }

  function save(next: JournalState): void {
    store.journal.write(next);
    state = next;
  }

  /**
   * Keys of CAs that were replaced, and of attempts that were cut short before their journal. The
   * journal is asked as it is now: a write that failed late may have reached the disk.
   */
  async function prune(): Promise<void> {
    try {
      const entries = [...state.authorities, ...(store.journal.read()?.authorities ?? [])];
      const named = new Set(entries.map((entry) => entry.keyId));
      for (const id of await store.keys.ids()) if (!named.has(id)) await store.keys.remove(id);
    } catch (thrown) {
      log.warn({ err: thrown }, 'an old CA key could not be removed');
    }
  }

  return {
    root,
    issuing: () => issuing,
    replaceIssuing,
    bundleSequence: state.bundleSequence,
  };
}

interface Known {
  readonly entry: JournalAuthority;
  readonly certificate: CaCertificate;
}

function readAuthorities(
  state: JournalState,
  trustDomain: TrustDomain,
  path: string,
): { root?: Known; issuing?: Known } {
  const known: { root?: Known; issuing?: Known } = {};
  for (const entry of state.authorities) {
    try {
      known[entry.role] = { entry, certificate: readCaCertificate(entry.certificate, trustDomain) };
    } catch (thrown) {
      throw unusable(path, entry, errorText(thrown), thrown);
    }
  }
  for (const item of [known.root, known.issuing]) {
    if (!item || !known.root) continue;
    try {
      checkIssuedBy(item.certificate, known.root.certificate);
    } catch (thrown) {
      throw unusable(path, item.entry, errorText(thrown), thrown);
    }
  }
  return known;
}

function toEntry(role: 'root' | 'issuing', { certificate, key }: Authority): JournalAuthority {
  return { role, state: 'active', keyId: key.id, keyType: key.type, certificate: certificate.der };
}

function checkTrustDomain(state: JournalState, config: AuthoritiesConfig, path: string): void {
  if (state.trustDomain === config.trustDomain) return;
  throw new IdentityError(
    'ERR_KEY_STORE',
    `${path} belongs to the trust domain ${state.trustDomain}, the configuration says ${config.trustDomain}`,
    { hint: 'set trust_domain back, or give the new trust domain a data_dir of its own' },
  );
}

function checkRootTime(root: CaCertificate, nowMs: number): void {
  const { notBeforeMs, notAfterMs } = root.validity;
  if (isValidAt(root.validity, nowMs)) return;
  if (nowMs < notBeforeMs) {
    throw new IdentityError(
      'ERR_ISSUER',
      `the root ${root.subjectText} is valid from ${isoTime(notBeforeMs)}, but it is ${isoTime(nowMs)}`,
      { hint: "check the machine's clock" },
    );
  }
  throw new IdentityError(
    'ERR_ISSUER',
    `the root ${root.subjectText} expired at ${isoTime(notAfterMs)}`,
    {
      hint: "check the machine's clock; if it is right, move the data directory away for a new root, which every peer then has to learn",
    },
  );
}

function unusable(
  path: string,
  entry: JournalAuthority,
  why: string,
  cause?: unknown,
): IdentityError {
  const what = entry.role === 'root' ? 'root' : 'issuing CA';
  return new IdentityError('ERR_KEY_STORE', `cannot use the ${what} in ${path}: ${why}`, {
    cause,
    hint: 'restore the data directory from a backup; to start anew with a new root, which every peer then has to learn, move it away',
  });
}

function describe({ serial, validity, subjectText }: CaCertificate) {
  return { serial, not_after: isoTime(validity.notAfterMs), detail: subjectText };
}

/** A time for people and logs. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
