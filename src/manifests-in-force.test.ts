import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createManifestsInForce, type Need } from './manifests-in-force.ts';
import type { ClusterSpiffeId } from './manifests/cluster-spiffe-id.ts';
import { parseGoTemplate } from './manifests/template.ts';

function id(name: string, parts: Partial<ClusterSpiffeId> = {}): ClusterSpiffeId {
  return {
    ...{ name, source: name, uid: '', createdAt: '', hint: '', fallback: false },
    ...{ podSelector: [], namespaceSelector: [], dnsNames: [], selectors: [], federatesWith: [] },
    ...{ x509SvidTtlMs: undefined, jwtSvidTtlMs: undefined },
    spiffeId: parseGoTemplate(`spiffe://example.org/${name}`),
    ...parts,
  };
}
const PROD = { namespaceSelector: [{ key: 'env', operator: 'In', values: ['prod'] }] } as const;
const ZONE = { spiffeId: parseGoTemplate('spiffe://example.org/{{ .NodeMeta.Labels.zone }}') };

function setUp(...wanted: ClusterSpiffeId[]) {
  const state = { wanted: wanted as readonly ClusterSpiffeId[], complete: true };
  const followed = new Set<Need>();
  const awaited = new Set<Need>();
  const inForce = createManifestsInForce({
    wanted: () => state.wanted,
    complete: () => state.complete,
    follow(need) {
      if (!followed.has(need)) awaited.add(need);
      followed.add(need);
    },
    awaits: (need) => awaited.has(need),
  });
  inForce.look();
  return { state, inForce, followed, awaited, names: () => inForce.ids().map(({ name }) => name) };
}

describe('createManifestsInForce()', () => {
  it('puts the first ones in force at once, and follows no more than they need', () => {
    const { names, followed, inForce } = setUp(id('a', PROD));
    assert.deepEqual([names(), [...followed]], [['a'], ['namespaces']]);
    assert.deepEqual([inForce.uses('namespaces'), inForce.uses('node')], [true, false]);
  });

  it('keeps those before until it is known what a change is the first to need', () => {
    const { state, names, inForce, awaited } = setUp(id('a'));
    for (const [parts, need] of [
      [PROD, 'namespaces'],
      [ZONE, 'node'],
    ] as const) {
      const before = inForce.ids();
      state.wanted = [id(need, parts)];
      assert.equal(inForce.look(), false);
      assert.equal(inForce.ids(), before);
      assert.equal(inForce.uses(need), false);
      awaited.delete(need);
      assert.equal(inForce.look(), true);
      assert.deepEqual([names(), inForce.uses(need)], [[need], true]);
    }
  });

  it('takes what needs nothing new at once, and what was waiting is dropped for it', () => {
    const { state, names, inForce } = setUp(id('a'));
    state.wanted = [id('b', PROD)];
    assert.equal(inForce.look(), false);
    state.wanted = [id('c')];
    assert.equal(inForce.look(), true);
    assert.deepEqual(names(), ['c']);
    assert.equal(inForce.look(), false);
  });

  it('waits with nothing of the cluster when it is heard of for the first time', () => {
    const { state, names, inForce } = setUp();
    state.complete = false;
    state.wanted = [id('of documents')];
    assert.equal(inForce.look(), true);
    assert.equal(inForce.complete(), false);
    state.wanted = [id('of documents'), id('of the cluster', PROD)];
    state.complete = true;
    assert.equal(inForce.look(), true);
    assert.deepEqual([names().length, inForce.complete()], [2, true]);
  });
});
