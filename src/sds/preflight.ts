import { X509Certificate } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import { errorText, IdentityError } from '../core/errors.ts';
import type { TrustBundle } from '../identity/bundle.ts';
import {
  CLIENT_AUTH,
  KEY_USAGE,
  readCertificate,
  SERVER_AUTH,
  type CertificateFacts,
} from '../identity/certificate.ts';
import { isSignedBy, readCrl, type CrlFacts } from '../identity/crl.ts';
import { isTakenKey } from '../identity/public-key.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { X509Svid } from '../identity/svid.ts';
import { createKeyFault, type KeyFault } from './key-fit.ts';

/** A proxy is looked at as a server by some and as a client by others. */
const PURPOSES = [SERVER_AUTH, CLIENT_AUTH];

/**
 * Mints with a last look at the result: what may not leave is a failure of the issuer, `ERR_ISSUER`.
 * Envoy accepts much that is useless or dangerous, and keeps what it refuses where later listeners
 * fail on it: the last look is ours. Whoever made an SVID, it is judged by its bytes alone.
 * Signatures are not verified: that would cost more than making them.
 */
export function preflighted<Args extends readonly unknown[]>(
  mint: (...args: Args) => Promise<X509Svid>,
  clock: Clock,
): (...args: Args) => Promise<X509Svid> {
  const keyFault = createKeyFault();
  return async (...args) => {
    const svid = await mint(...args);
    const fault = svidFault(svid, clock.now(), keyFault);
    if (fault === undefined) return svid;
    svid.key.wipe();
    throw new IdentityError('ERR_ISSUER', `the SVID of ${svid.id} is withheld: ${fault}`);
  };
}

/**
 * The bundles that may leave: one that may not is reported once, and the one before it stays in its
 * place, if there is one.
 */
export function preflightedBundles(
  get: (domain: TrustDomain) => TrustBundle | undefined,
  report: (domain: TrustDomain, fault: string) => void,
  clock: Pick<Clock, 'now'>,
): (domain: TrustDomain) => TrustBundle | undefined {
  const looked = new Map<TrustDomain, Look>();
  return (domain) => {
    const latest = get(domain);
    if (!latest) return undefined;
    const before = looked.get(domain);
    const nowMs = clock.now();
    if (latest === before?.latest && nowMs >= before.fromMs && nowMs < before.untilMs) {
      return before.good;
    }
    const fault = bundleFault(latest, nowMs);
    if (fault !== undefined && fault !== before?.fault) report(domain, fault);
    const other = before?.good === latest ? undefined : before?.good;
    const keeps = other && bundleFault(other, nowMs) === undefined ? other : undefined;
    const good = fault === undefined ? latest : keeps;
    looked.set(domain, { latest, good, fault, ...spanAround(nowMs, [latest, good]) });
    return good;
  };
}

/** What was found of a bundle, and the time within which that stays true. */
interface Look {
  readonly latest: TrustBundle;
  readonly good: TrustBundle | undefined;
  readonly fault: string | undefined;
  readonly fromMs: number;
  readonly untilMs: number;
}

/** From the last beginning or end of a root's life to the next one. */
function spanAround(nowMs: number, bundles: readonly (TrustBundle | undefined)[]) {
  let [fromMs, untilMs] = [-Infinity, Infinity];
  const edges = bundles.flatMap((bundle) => [
    ...(bundle?.x509Authorities ?? []).flatMap(({ der }) => livesOf(der)),
    ...(bundle?.crls ?? []).flatMap(updatesOf),
  ]);
  for (const edgeMs of edges) {
    if (edgeMs <= nowMs) fromMs = Math.max(fromMs, edgeMs);
    else untilMs = Math.min(untilMs, edgeMs);
  }
  return { fromMs, untilMs };
}

function updatesOf(der: Uint8Array): readonly number[] {
  try {
    const { thisUpdateMs, nextUpdateMs } = readCrl(der);
    return [thisUpdateMs, nextUpdateMs];
  } catch {
    return [];
  }
}

function livesOf(der: Uint8Array): readonly number[] {
  try {
    const { notBeforeMs, notAfterMs } = readCertificate(der);
    return [notBeforeMs, notAfterMs];
  } catch {
    return [];
  }
}

/** What is wrong with an SVID, in words; undefined when it may leave. */
function svidFault(svid: X509Svid, nowMs: number, keyFault: KeyFault): string | undefined {
  try {
    const [first, ...above] = svid.chain;
    if (!first) return 'there is no certificate';
    const leaf = readCertificate(first);
    const issuers = above.map(issuerFacts);
    return (
      leafFault(leaf, svid.id) ??
      timeFault(leaf, nowMs) ??
      keyFault(leaf.publicKey, svid.key) ??
      chainFault([leaf, ...issuers], nowMs)
    );
  } catch (thrown) {
    return `it cannot be read: ${errorText(thrown)}`;
  }
}

/** The certificates above the leaves are the same objects in all SVIDs of an authority. */
const issuerFactsOf = new WeakMap<Uint8Array, CertificateFacts>();

function issuerFacts(der: Uint8Array): CertificateFacts {
  let facts = issuerFactsOf.get(der);
  if (!facts) issuerFactsOf.set(der, (facts = readCertificate(der)));
  return facts;
}

/** What is wrong with the bundle of a trust domain; undefined when it may leave. */
function bundleFault(bundle: TrustBundle, nowMs: number): string | undefined {
  return rootsFault(bundle, nowMs) ?? crlsFault(bundle, nowMs);
}

/**
 * A CRL that Envoy does not take is refused with all roots; one that is missing, of the future or past
 * refuses every peer. Those of CAs below the roots are the issuer's to verify: their certificates
 * travel with the leaves.
 */
function crlsFault({ x509Authorities, crls = [] }: TrustBundle, nowMs: number): string | undefined {
  if (crls.length === 0) return undefined;
  try {
    const facts = crls.map(readCrl);
    if (facts.some(({ thisUpdateMs }) => thisUpdateMs > nowMs)) return 'a CRL is of the future';
    for (const { der } of x509Authorities) {
      const fault = crlOfRootFault(der, facts, nowMs);
      if (fault !== undefined) return fault;
    }
    return undefined;
  } catch (thrown) {
    return `a CRL cannot be read: ${errorText(thrown)}`;
  }
}

function crlOfRootFault(der: Uint8Array, crls: readonly CrlFacts[], nowMs: number) {
  const root = readCertificate(der);
  // Nobody asks for the CRL of a root that is past, or to come.
  if (outsideLife(root, nowMs) !== undefined) return undefined;
  const own = crls.filter(({ issuer }) => issuer.equals(root.subject));
  if (own.length === 0) return 'a root has no CRL, and others have one';
  const { publicKey } = new X509Certificate(der);
  if (!own.every((crl) => isSignedBy(crl, publicKey))) return 'a CRL is not signed by its root';
  return own.some(({ nextUpdateMs }) => nextUpdateMs > nowMs) ? undefined : 'a CRL has expired';
}

/** What is wrong with the roots of a trust domain; undefined when they may leave. */
function rootsFault({ x509Authorities }: TrustBundle, nowMs: number): string | undefined {
  // An empty bundle would be accepted, and nobody verified any more.
  if (x509Authorities.length === 0) return 'there is no root';
  const times: (string | undefined)[] = [];
  for (const { der } of x509Authorities) {
    try {
      const root = readCertificate(der);
      times.push(outsideLife(root, nowMs));
      // A partial chain is an anchor to the plain validator, and none to the SPIFFE one.
      if (!root.isCa || !root.issuer.equals(root.subject)) return 'a root is not self-signed';
      const mayCertify = root.keyUsage === 0 || (root.keyUsage & KEY_USAGE.keyCertSign) !== 0;
      if (!mayCertify) return 'a root may not sign certificates';
      // Once for each bundle: who can turn one in may not be who signed it.
      const certificate = new X509Certificate(der);
      const { publicKey } = certificate;
      if (!isTakenKey(publicKey)) return 'a root has a key that Envoy does not take';
      if (!certificate.verify(publicKey)) return 'a root is not signed by itself';
    } catch (thrown) {
      return `a root cannot be read: ${errorText(thrown)}`;
    }
  }
  // One that is past, or to come, harms nobody beside one that is valid.
  return times.includes(undefined) ? undefined : times[0];
}

function outsideLife({ notBeforeMs, notAfterMs }: CertificateFacts, nowMs: number) {
  if (notAfterMs <= nowMs) return 'a root has expired';
  return notBeforeMs > nowMs ? 'a root is not valid yet' : undefined;
}

function leafFault(leaf: CertificateFacts, id: string): string | undefined {
  const { keyUsage, purposes } = leaf;
  if (leaf.isCa) return 'the leaf is a CA';
  if (!(keyUsage & KEY_USAGE.digitalSignature)) return 'its key usage lacks digitalSignature';
  if (keyUsage & (KEY_USAGE.keyCertSign | KEY_USAGE.cRLSign))
    return 'its key usage is that of a CA';
  if (!PURPOSES.every((purpose) => purposes?.some((one) => one.equals(purpose)))) {
    return 'its extended key usage is not that of a server and a client';
  }
  return leaf.uris.length === 1 && leaf.uris[0] === id ? undefined : `its URI name is not ${id}`;
}

function timeFault({ notBeforeMs, notAfterMs }: CertificateFacts, nowMs: number) {
  if (notAfterMs <= nowMs) return `it expired at ${new Date(notAfterMs).toISOString()}`;
  if (notBeforeMs > nowMs) return `it is not valid before ${new Date(notBeforeMs).toISOString()}`;
  return undefined;
}

/**
 * Each certificate by the one behind it, and no root among them (contract: `SDS`). The leaf ends before
 * all of them; that a CA outlives the one above it harms nobody then.
 */
function chainFault(chain: readonly CertificateFacts[], nowMs: number): string | undefined {
  const endMs = chain[0]?.notAfterMs ?? Infinity;
  for (const [n, { issuer, authorityKeyId }] of chain.entries()) {
    const above = chain[n + 1];
    if (!above) return undefined;
    if (above.notBeforeMs > nowMs || above.notAfterMs < endMs) {
      return 'it is not within the life of its issuer';
    }
    if (!above.isCa || !(above.keyUsage & KEY_USAGE.keyCertSign)) return 'an issuer is not a CA';
    if (above.issuer.equals(above.subject)) return 'the chain holds a root';
    const named = authorityKeyId && above.subjectKeyId;
    if (!issuer.equals(above.subject) || (named && !named.equals(authorityKeyId))) {
      return 'the chain is out of order';
    }
  }
  return undefined;
}
