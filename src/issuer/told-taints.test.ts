import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { FakeUpstream, makeRoot } from '../../test/support/authorities.ts';
import { authorityWorld, rootsOf } from '../../test/support/authority-world.ts';
import { DAY_MS } from '../../test/support/issuer.ts';

const MINUTE_MS = 60_000;

async function below(t: TestContext) {
  let used = 1;
  const world = authorityWorld(t);
  const old = await makeRoot(world.clock, 365 * DAY_MS);
  const upstream = new FakeUpstream(world.clock, old, { tells: true });
  upstream.tell([old]);
  const source = await world.open({ upstream, inUse: () => used });
  const tainted: string[] = [];
  source.onTainted((ids) => tainted.push(...ids));
  const active = () => source.authorities().find(({ slot }) => slot === 'active');
  const first = active();
  assert.ok(first?.rootId);
  return { ...world, old, upstream, source, tainted, active, first, free: () => (used = 0) };
}

describe('a root that the upstream leaves', () => {
  it('goes on until there is another, then gives everything up to it and is trusted no more', async (t) => {
    const { upstream, old, source, tainted, active, first, pass, clock, free } = await below(t);
    upstream.left = [first.rootId ?? ''];
    upstream.tell([old]);
    await pass(5 * MINUTE_MS, 5000);
    // Below the same root again: nothing is given up for that.
    assert.equal(active()?.id, first.id);
    assert.deepEqual(tainted, []);

    const next = await makeRoot(clock, 365 * DAY_MS);
    upstream.root = next;
    upstream.tell([old, next]);
    await pass(10 * MINUTE_MS, 5000);
    assert.deepEqual(tainted, [first.id]);
    assert.notEqual(active()?.rootId, first.rootId);
    assert.equal(source.bundle().x509Authorities.length, 2);

    free();
    await pass(5 * MINUTE_MS, 5000);
    assert.equal(source.bundle().x509Authorities.length, 1);
    assert.equal(rootsOf(source).length, 1);
    // However long the upstream goes on telling of it.
    upstream.tell([old, next]);
    await pass(MINUTE_MS, 5000);
    assert.equal(source.bundle().x509Authorities.length, 1);
  });

  it('is none of those that are not known here', async (t) => {
    const { upstream, old, active, first, pass } = await below(t);
    upstream.left = ['ab'.repeat(20)];
    upstream.tell([old]);
    await pass(5 * MINUTE_MS, 5000);
    assert.equal(active()?.id, first.id);
    assert.equal(upstream.asked, 1);
  });
});
