import type { Clock } from '../core/clock.ts';
import type { LogFields } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { buildCaCertificate } from './ca-builder.ts';
import type { CaCertificate } from './ca-certificate.ts';
import type { SigningKey } from './keys.ts';
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

/** What is to be certified. */
export interface CaOf {
  readonly key: SigningKey;
  /** In milliseconds; the issuer's end shortens it. */
  readonly ttlMs: number;
  /** Undefined: a root. */
  readonly issuer: { readonly certificate: CaCertificate; readonly key: SigningKey } | undefined;
}

/** Makes the certificate of a root, or of an issuing CA that does not outlive what it is below. */
export type CaCertifier = (ca: CaOf) => Promise<CaCertificate>;

export interface CertifierDeps {
  readonly clock: Clock;
  readonly random: Random;
}

export function createCaCertifier(
  trustDomain: TrustDomain,
  nameConstraint: boolean,
  { clock, random }: CertifierDeps,
): CaCertifier {
  const nextSerial = createSerials(random);
  return ({ key, ttlMs, issuer }) => {
    const end = issuer?.certificate.validity.notAfterMs ?? Infinity;
    const validity = validityFrom(clock.now(), ttlMs, end);
    const serial = nextSerial();
    return buildCaCertificate({ trustDomain, key, serial, validity, issuer, nameConstraint });
  };
}

/** Whether a certificate is valid now, and for long enough to be worth signing with. */
export function isValidAt(validity: Validity, nowMs: number): boolean {
  return validity.notBeforeMs <= nowMs && nowMs + 1000 <= validity.notAfterMs;
}

/** What the log says of an authority. */
export function describe({ serial, validity, subjectText }: CaCertificate): LogFields {
  return { serial, not_after: isoTime(validity.notAfterMs), detail: subjectText };
}

/** A time for people and logs. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
