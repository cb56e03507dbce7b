import type { Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import type { LogFields } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { buildCaCertificate } from './ca-builder.ts';
import type { CaCertificate } from './ca-certificate.ts';
import type { KeyType } from './key-type.ts';
import type { KeyManager, SigningKey } from './keys.ts';
import { createSerials, validityFrom, type Validity } from './profile.ts';

/** A signing authority: its certificate and the key that fits it. */
export interface Authority {
  readonly certificate: CaCertificate;
  readonly key: SigningKey;
  /** What travels behind a leaf: itself, then what is between it and the root; never the root. */
  readonly chain: readonly CaCertificate[];
  /** When it may sign, and what no leaf may outlive: all of the way up to the root is valid then. */
  readonly validity: Validity;
}

/** One of our own, right below the root or the root itself, within whose life it was made. */
export function ownAuthority(certificate: CaCertificate, key: SigningKey): Authority {
  return { certificate, key, chain: [certificate], validity: certificate.validity };
}

/** What new authorities are to be like; lifetimes in milliseconds. */
export interface AuthoritiesConfig {
  readonly trustDomain: TrustDomain;
  readonly caKeyType: KeyType;
  readonly caTtlMs: number;
  readonly rootTtlMs: number;
}

/**
 * Makes a root, or an issuing CA below the given one that does not outlive it. Its key is kept when
 * this resolves, as the key manager promises.
 */
export type AuthorityMaker = (issuer: Authority | undefined) => Promise<Authority>;

export interface MakerDeps {
  readonly clock: Clock;
  readonly random: Random;
}

export function createAuthorityMaker(
  keys: Pick<KeyManager, 'generate'>,
  config: AuthoritiesConfig,
  { clock, random }: MakerDeps,
): AuthorityMaker {
  const nextSerial = createSerials(random);
  return async (issuer) => {
    const key = await keys.generate(config.caKeyType);
    const ttlMs = issuer ? config.caTtlMs : config.rootTtlMs;
    const end = issuer?.certificate.validity.notAfterMs ?? Infinity;
    const validity = validityFrom(clock.now(), ttlMs, end);
    const { trustDomain } = config;
    const request = { trustDomain, key, serial: nextSerial(), validity, issuer };
    return ownAuthority(await buildCaCertificate(request), key);
  };
}

/** Whether a certificate is valid now, and for long enough to be worth signing with. */
export function isValidAt(validity: Validity, nowMs: number): boolean {
  return validity.notBeforeMs <= nowMs && nowMs + 1000 <= validity.notAfterMs;
}

/** Throws `ERR_ISSUER` when a root's time is not now: nothing can be signed under it. */
export function checkRootTime(root: CaCertificate, nowMs: number): void {
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

/** What the log says of an authority. */
export function describe({ serial, validity, subjectText }: CaCertificate): LogFields {
  return { serial, not_after: isoTime(validity.notAfterMs), detail: subjectText };
}

/** A time for people and logs. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
