import { createHash } from 'node:crypto';
import type { CrlEntry } from './crl.ts';
import type { CrlSigner, RevokedAuthority } from './crl-signers.ts';
import type { Validity } from './profile.ts';
import type { Revocation } from './revocation-text.ts';

/**
 * A clock that is set back, or that of a proxy that is behind, by less than this finds no CRL to be of
 * the future; one that went ahead and comes back finds what is revoked still listed.
 */
export const CLOCK_LEEWAY_MS = 2 * 3_600_000;

/** Share of its life after which a CRL is made anew, and ± of that point. */
const REFRESH = { fraction: 0.5, jitter: 0.1 } as const;

/** When a CRL begins, ends, and is to be replaced. */
export interface CrlLife {
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  readonly refreshAtMs: number;
}

/** The life of a CRL made now; `unit`, uniform in [0, 1), is drawn once for each. */
export function crlLife(nowMs: number, ttlMs: number, signer: Validity, unit: number): CrlLife {
  const nextUpdateMs = Math.min(nowMs + ttlMs, signer.notAfterMs);
  const share = REFRESH.fraction * (1 + REFRESH.jitter * (2 * unit - 1));
  return {
    thisUpdateMs: nowMs - CLOCK_LEEWAY_MS,
    nextUpdateMs,
    // One that lasts as long as its CA cannot be made to last longer.
    refreshAtMs: nextUpdateMs === signer.notAfterMs ? Infinity : nowMs + ttlMs * share,
  };
}

/** Whether a CRL may stay as it is, for all that time is concerned. */
export function isFresh({ thisUpdateMs, refreshAtMs }: CrlLife, nowMs: number): boolean {
  return thisUpdateMs <= nowMs && nowMs < refreshAtMs;
}

/** Whether a revoked certificate is still to be listed. */
export function isListed({ notAfterMs }: { readonly notAfterMs: number }, nowMs: number): boolean {
  return nowMs <= notAfterMs + CLOCK_LEEWAY_MS;
}

/** A CRL that there has to be. */
export interface WantedCrl {
  readonly signer: CrlSigner;
  /** Subject key identifier of the signer, lower-case hex. */
  readonly keyId: string;
  readonly entries: readonly CrlEntry[];
  /** Equal for equal entries. */
  readonly content: string;
}

/** What there is to revoke and who could sign for it. */
export interface RevocationFacts {
  readonly revoked: readonly Revocation[];
  readonly authorities: readonly RevokedAuthority[];
  readonly signers: readonly CrlSigner[];
}

/**
 * None while nothing is revoked. Else one of every CA, with entries or without: a validator that has
 * any CRL wants one of every CA on the way up, of those that sign, that did and that are about to.
 */
export function wantedCrls(facts: RevocationFacts, nowMs: number): readonly WantedCrl[] {
  const revoked = facts.revoked.filter((one) => isListed(one, nowMs));
  const authorities = facts.authorities.filter((one) => isListed(one, nowMs));
  if (revoked.length + authorities.length === 0) return [];
  const living = facts.signers.filter(({ certificate }) => {
    return nowMs < certificate.validity.notAfterMs;
  });
  return living.map((signer) => {
    const keyId = signer.certificate.keyId.toString('hex');
    const mine = (one: { readonly issuerKeyId: string }) => one.issuerKeyId === keyId;
    const entries = [
      ...authorities.filter(mine).map(({ serial, notAfterMs }) => ({
        serial,
        // Nobody kept the time, and no validator asks; the same each time the CRL is made.
        revokedAtMs: Math.min(signer.certificate.validity.notBeforeMs, notAfterMs),
        reason: 'cACompromise' as const,
      })),
      ...revoked.filter(mine),
    ];
    return { signer, keyId, entries, content: contentOf(entries) };
  });
}

function contentOf(entries: readonly CrlEntry[]): string {
  const hash = createHash('sha256');
  for (const { serial, revokedAtMs, reason } of entries) {
    hash.update(`${serial} ${revokedAtMs} ${reason}\n`);
  }
  return hash.digest('hex');
}
