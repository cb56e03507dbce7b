import { parseSelector } from '../../src/identity/selector.ts';
import type { PolicyEntry } from '../../src/policy/entry.ts';
import { entitlement, WEB } from './identities.ts';

/** An entry of `example.org` as it is once its document has been read. */
export function policyEntry(
  path: string,
  selectors: readonly string[],
  more: Partial<PolicyEntry> = {},
): PolicyEntry {
  const { id: _id, ...granted } = entitlement(WEB);
  return {
    ...granted,
    spiffeId: `spiffe://example.org/${path}`,
    selectors: selectors.map(parseSelector),
    source: 'p.yaml:1',
    ...more,
  };
}
