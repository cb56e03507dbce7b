import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { policyEntry } from '../test/support/policy-entry.ts';
import { parseTrustDomain } from './identity/spiffe-id.ts';
import { nameNodes, partEntries } from './static-entries.ts';

const trustDomain = parseTrustDomain('example.org');
const AGENT = 'spiffe://example.org/spire/agent/k8s_psat/blue/node-uid';

const entryOf = (parentId: string) => ({ entry: policyEntry('db', ['unix:uid:70']), parentId });

/** Why an entry with that parent is not for this node; undefined when it is. */
function reason(parentId: string, nodeUid?: string, ...parentIds: string[]): string | undefined {
  const parts = partEntries([entryOf(parentId)], nodeUid, { trustDomain, parentIds });
  assert.equal(parts.here.length + parts.elsewhere.length, 1);
  return parts.elsewhere[0]?.reason;
}

describe('partEntries()', () => {
  it('takes what names no parent, the own node, or a parent of the configuration', () => {
    const alias = 'spiffe://example.org/nodes/blue';
    assert.equal(reason(''), undefined);
    assert.equal(reason(AGENT, 'node-uid'), undefined);
    assert.equal(reason(alias, undefined, alias), undefined);
    assert.equal(reason(AGENT, 'other', '*'), undefined);
  });

  it('leaves to other nodes what is for them, and says why', () => {
    assert.equal(reason(AGENT, 'other'), 'its parentID names the node node-uid, this one is other');
    assert.match(reason(AGENT) ?? '', /the own one is not known \(nodes: list, watch\)$/);
    for (const parent of [
      'spiffe://example.org/nodes/blue',
      'spiffe://example.org/spire/server',
      'spiffe://example.org/spire/agent/k8s_psat/blue/node-uid/more',
      'spiffe://example.org/spire/agent/x509pop/node-uid',
      'spiffe://other.org/spire/agent/k8s_psat/blue/node-uid',
    ]) {
      assert.match(reason(parent, 'node-uid', AGENT) ?? '', /not known to mean this node/, parent);
    }
  });

  it('asks for nodes only where a parent names one that the configuration does not', () => {
    const asks = (...parentIds: string[]) =>
      nameNodes([entryOf(''), entryOf(AGENT)], { trustDomain, parentIds });
    assert.equal(asks(), true);
    assert.equal(asks(AGENT), false);
    assert.equal(asks('*'), false);
    assert.equal(
      nameNodes([entryOf('spiffe://example.org/a')], { trustDomain, parentIds: [] }),
      false,
    );
  });
});
