import type { Selector } from '../identity/selector.ts';
import type { PolicyEntry } from './entry.ts';
import { isAmbiguous } from './template.ts';

/** What is probably not meant so in an entry that is valid. */
export function doubtsAbout(entry: PolicyEntry, caTtlMs: number | undefined): readonly string[] {
  const doubts: string[] = [];
  if (entry.spiffeId.includes('{') && isAmbiguous(entry.spiffeId)) {
    doubts.push(
      `${entry.spiffeId}: two placeholders in one segment can give different callers the same ID`,
    );
  }
  if (caTtlMs !== undefined && entry.x509SvidTtlMs !== undefined && entry.x509SvidTtlMs > caTtlMs) {
    doubts.push('x509_svid_ttl is longer than issuer.ca_ttl: certificates will end earlier');
  }
  const weak = programAlone(entry.selectors);
  if (weak !== undefined) doubts.push(weak);
  return doubts;
}

const isPath = (selector: Selector) => selector.startsWith('unix:path:');
const isDigest = (selector: Selector) => selector.startsWith('unix:sha256:');

/** A program is no credential: anybody may run it, and what it does is up to who runs it. */
function programAlone(selectors: readonly Selector[]): string | undefined {
  if (!selectors.every((selector) => isPath(selector) || isDigest(selector))) return undefined;
  return selectors.some(isDigest)
    ? 'unix:sha256 without a user: everybody may run that file, and an interpreter runs any script; add unix:uid'
    : 'unix:path without a user: who may create mount namespaces puts any file at that path; add unix:uid';
}
