import { parseSelector } from '../../src/identity/selector.ts';
import type { PolicyEntry } from '../../src/policy/entry.ts';

/** An entry of `example.org` as it is once its document has been read. */
export function policyEntry(
  path: string,
  selectors: readonly string[],
  more: Partial<PolicyEntry> = {},
): PolicyEntry {
  return {
    spiffeId: `spiffe://example.org/${path}`,
    selectors: selectors.map(parseSelector),
    x509SvidTtlMs: undefined,
    jwtSvidTtlMs: undefined,
    dnsNames: [],
    federatesWith: [],
    hint: '',
    priority: 0,
    source: 'p.yaml:1',
    ...more,
  };
}
