import { isIP } from 'node:net';
import { der, DerReader, TAG } from '../core/der.ts';
import { errorText } from '../core/errors.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';

/** Whether validators can hold a URI constraint on the name: RFC 5280 4.2.1.10 wants a host's name. */
export function canBeConstrained(trustDomain: TrustDomain): boolean {
  return isIP(trustDomain) === 0;
}

/** DER of NameConstraints that permit URIs of the trust domain alone (RFC 5280 4.2.1.10, X5-29). */
export function nameConstraintsFor(trustDomain: TrustDomain): Buffer {
  const subtree = der(TAG.sequence, der(TAG.sanUri, Buffer.from(trustDomain, 'latin1')));
  return der(TAG.sequence, der(TAG.part0, subtree));
}

/**
 * Why SVIDs of the trust domain could not stand below a CA with these NameConstraints; undefined when
 * they permit the whole of it. Of other names than URIs none may be constrained: what a leaf has of
 * them is for others to say, and a validator would refuse it.
 */
export function nameConstraintFault(
  constraints: Buffer,
  trustDomain: TrustDomain,
): string | undefined {
  try {
    const list = new DerReader(constraints);
    const parts = list.enter(TAG.sequence);
    list.finish();
    const permitted = parts.tag === TAG.part0 ? readHosts(parts.enter(TAG.part0)) : [];
    const excluded = parts.tag === TAG.part1 ? readHosts(parts.enter(TAG.part1)) : [];
    parts.finish();
    if (excluded.some((host) => covers(host, trustDomain))) {
      return `X5-29: its name constraints exclude the trust domain ${trustDomain}`;
    }
    return permitted.length === 0 || permitted.some((host) => covers(host, trustDomain))
      ? undefined
      : `X5-29: its name constraints do not permit the trust domain ${trustDomain}`;
  } catch (thrown) {
    return `X5-29: its name constraints are of another kind than on hosts of URIs (${errorText(thrown)})`;
  }
}

/** RFC 5280 4.2.1.10: minimum and maximum are never there, so a subtree has one part. */
function readHosts(subtrees: DerReader): string[] {
  const hosts: string[] = [];
  while (!subtrees.done) {
    const subtree = subtrees.enter(TAG.sequence);
    const host = subtree.text(TAG.sanUri).toLowerCase();
    subtree.finish();
    if (host === '' || host === '.') throw new TypeError('an empty host');
    hosts.push(host);
  }
  return hosts;
}

/** RFC 5280 4.2.1.10: with a dot at the front it means the names below, else that host alone. */
function covers(host: string, trustDomain: string): boolean {
  return host.startsWith('.') ? trustDomain.endsWith(host) : trustDomain === host;
}
