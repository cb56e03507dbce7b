import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { Validity } from './profile.ts';
import type { UpstreamCertificate } from './upstream-certificates.ts';
import { caFault, namesFault, timeFault } from './upstream-checks.ts';

/** What a path is held against; without a time it is looked at whenever that is. */
export interface PathExpectation {
  readonly trustDomain: TrustDomain;
  readonly nowMs?: number;
}

/** Where chain and roots are from, for messages, and the error that those make. */
export interface PathSources {
  readonly chain: string;
  readonly roots: string;
  readonly refused: (source: string, why: string) => Error;
}

/** An issuing CA with those that may be between it and its root, and the roots that it may have. */
export interface PathParts {
  readonly issuing: UpstreamCertificate;
  readonly between: readonly UpstreamCertificate[];
  readonly roots: readonly UpstreamCertificate[];
}

/** The way from an issuing CA up to a root, every step of which was looked at. */
export interface CaPath {
  /** The CA first; without the root, unless the CA is its own. */
  readonly chain: readonly UpstreamCertificate[];
  readonly root: UpstreamCertificate;
  /** When all of it is valid. */
  readonly validity: Validity;
}

/** Throws what `refused` makes of the first fault between the CA and its root. */
export function findPath(parts: PathParts, sources: PathSources, want: PathExpectation): CaPath {
  const { issuing } = parts;
  const { chain, root } = climb(parts, sources);
  const path = chain.includes(root) ? chain : [...chain, root];
  for (const [below, ca] of path.entries()) {
    const source = ca === root ? sources.roots : sources.chain;
    const fault = caFault(ca, { ...want, below, isRoot: ca === root });
    if (fault !== undefined) throw sources.refused(source, `${ca.subjectText}: ${fault}`);
  }
  if (issuing.keyId.length === 0) {
    throw sources.refused(sources.chain, 'RFC 5280 4.2.1.2: expected a subject key identifier');
  }
  return { chain: chain.filter((ca) => ca !== root), root, validity: commonValidity(path) };
}

/** The roots that can be trusted now. One that is past its time is left out: it verifies nothing. */
export function trustedRoots(
  all: readonly UpstreamCertificate[],
  sources: PathSources,
  want: Required<PathExpectation>,
): { roots: readonly UpstreamCertificate[]; doubts: readonly string[] } {
  const roots: UpstreamCertificate[] = [];
  const doubts: string[] = [];
  for (const root of all) {
    if (roots.some(({ der }) => der.equals(root.der))) continue;
    const fault = rootFault(root) ?? namesFault(root, want.trustDomain);
    if (fault !== undefined) throw sources.refused(sources.roots, `${root.subjectText}: ${fault}`);
    const time = timeFault(root, want.nowMs);
    if (time === undefined) roots.push(root);
    else doubts.push(`${sources.roots}: ${root.subjectText} is left out: ${time}`);
  }
  if (roots.length > 0) return { roots, doubts };
  throw sources.refused(sources.roots, `expected a root that is valid now: ${doubts.join('; ')}`);
}

/** When all of a path is valid. */
export function commonValidity(path: readonly { readonly validity: Validity }[]): Validity {
  return {
    notBeforeMs: Math.max(...path.map(({ validity }) => validity.notBeforeMs)),
    notAfterMs: Math.min(...path.map(({ validity }) => validity.notAfterMs)),
  };
}

/** What keeps a certificate from being a root at any time. */
export function rootFault(root: UpstreamCertificate): string | undefined {
  if (!isIssuedBy(root, root)) return 'expected a self-signed root, this is signed by another';
  return caFault(root, { below: 0, isRoot: true });
}

/** From the issuing CA to the root that the chain ends at. */
function climb(
  { issuing, between, roots }: PathParts,
  sources: PathSources,
): { chain: readonly UpstreamCertificate[]; root: UpstreamCertificate } {
  const chain: UpstreamCertificate[] = [];
  for (let top = issuing; ;) {
    const same = roots.find(({ der }) => der.equals(top.der));
    if (same) return { chain: [...chain, same], root: same };
    chain.push(top);
    const root = roots.find((one) => isIssuedBy(top, one));
    if (root) return { chain, root };
    const above = between[chain.length - 1];
    if (!above) {
      throw sources.refused(
        sources.chain,
        `the chain ends at ${top.subjectText}, expected its issuer ${top.issuerText} behind it or in ${sources.roots}`,
      );
    }
    if (!isIssuedBy(top, above)) {
      throw sources.refused(
        sources.chain,
        `expected the issuer of ${top.subjectText} behind it, found ${above.subjectText}, which did not sign it`,
      );
    }
    top = above;
  }
}

function isIssuedBy(certificate: UpstreamCertificate, issuer: UpstreamCertificate): boolean {
  if (!certificate.issuer.equals(issuer.subject)) return false;
  try {
    return certificate.x509.verify(issuer.publicKey);
  } catch {
    return false;
  }
}
