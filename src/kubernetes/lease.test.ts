import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { ApiRefusal } from './api.ts';
import { createLease, LEASE_MS } from './lease.ts';

/** One lease, with the rule of the server that a write of an old version is refused. */
class FakeLeases {
  object: { metadata: { resourceVersion: string }; spec: { holderIdentity: string } } | undefined;
  #version = 0;

  get = () =>
    this.object ? Promise.resolve(this.object) : Promise.reject(new ApiRefusal(404, 'none'));

  send = (method: 'POST' | 'PUT' | 'PATCH', _path: string, body: object): Promise<void> => {
    const next = body as NonNullable<FakeLeases['object']>;
    const there = this.object?.metadata.resourceVersion;
    const fits = method === 'POST' ? !this.object : next.metadata.resourceVersion === there;
    if (!fits) return Promise.reject(new ApiRefusal(409, 'conflict'));
    const metadata = { ...next.metadata, resourceVersion: String(++this.#version) };
    this.object = { ...next, metadata };
    return Promise.resolve();
  };
}

describe('createLease()', () => {
  const { signal } = new AbortController();
  function setUp() {
    const api = new FakeLeases();
    const clock = new FakeClock();
    const of = (holder: string) =>
      createLease({ api, clock, holder, namespace: 'credence', name: 'status' });
    return { api, clock, a: of('a'), b: of('b') };
  }

  it('is given to the first and stays with it while it renews it', async () => {
    const { clock, a, b } = setUp();
    assert.equal(await a.holds({ signal }), true);
    for (let n = 0; n < 10; n++) {
      assert.equal(await b.holds({ signal }), false);
      await clock.advance(LEASE_MS / 3);
      assert.equal(await a.holds({ signal }), true);
    }
  });

  it('goes to another when it is not renewed for its time', async () => {
    const { clock, a, b } = setUp();
    await a.holds({ signal });
    assert.equal(await b.holds({ signal }), false);
    await clock.advance(LEASE_MS);
    assert.equal(await b.holds({ signal }), true);
    assert.equal(await a.holds({ signal }), false);
  });

  it('is given to one of two who take it at the same time', async () => {
    const { a, b } = setUp();
    const both = await Promise.all([a.holds({ signal }), b.holds({ signal })]);
    assert.deepEqual(both, [true, false]);
  });

  it('rejects when the server refuses', async () => {
    const { api, a } = setUp();
    api.get = () => Promise.reject(new ApiRefusal(403, 'no'));
    await assert.rejects(a.holds({ signal }), { code: 403 });
  });
});
