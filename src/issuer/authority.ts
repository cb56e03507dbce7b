import type { Clock } from '../core/clock.ts';
import type { LogFields } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { buildCaCertificate } from './ca-builder.ts';
import type { CaCertificate } from './ca-certificate.ts';
import type { KeyType } from './key-type.ts';
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

/** A CA certificate that was just signed; times are wall clock in milliseconds. */
export interface CaSigned {
  readonly kind: 'root' | 'issuing';
  readonly subject: string;
  /** Lower-case hex, like the key identifiers. */
  readonly serial: string;
  readonly keyId: string;
  /** Of the authority that signed it: its own, of a root. */
  readonly issuerKeyId: string;
  readonly keyType: KeyType;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

export interface CertifierDeps {
  readonly clock: Clock;
  readonly random: Random;
  /** Told before anybody uses it; when it throws nobody will. */
  readonly onCaSigned?: ((made: CaSigned) => void) | undefined;
}

export function createCaCertifier(
  trustDomain: TrustDomain,
  nameConstraint: boolean,
  { clock, random, onCaSigned }: CertifierDeps,
): CaCertifier {
  const nextSerial = createSerials(random);
  return async ({ key, ttlMs, issuer }) => {
    const end = issuer?.certificate.validity.notAfterMs ?? Infinity;
    const validity = validityFrom(clock.now(), ttlMs, end);
    const serial = nextSerial();
    const request = { trustDomain, key, serial, validity, issuer, nameConstraint };
    const certificate = await buildCaCertificate(request);
    onCaSigned?.(caSigned(certificate, issuer?.certificate ?? certificate, key.type));
    return certificate;
  };
}

function caSigned(certificate: CaCertificate, issuer: CaCertificate, keyType: KeyType): CaSigned {
  const { subjectText: subject, serial, keyId, validity } = certificate;
  return {
    kind: issuer === certificate ? 'root' : 'issuing',
    ...{ subject, serial, keyType, ...validity },
    keyId: keyId.toString('hex'),
    issuerKeyId: issuer.keyId.toString('hex'),
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
