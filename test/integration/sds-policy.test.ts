import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { certificateOf, namesOf, only } from '../support/answers.ts';
import { startApp } from '../support/app.ts';
import { eventually } from '../support/eventually.ts';
import { connectProxy } from '../support/sds-proxy.ts';

const WEB = 'spiffe://example.org/web';
const API = 'spiffe://example.org/api';
const BOTH = [
  { spiffe_id: WEB, priority: 10, federates_with: ['partner.example'] },
  { spiffe_id: API },
];

describe('a process without an identity', { timeout: 60_000 }, () => {
  it('gets bundles, but no certificate', async () => {
    await using app = await startApp({
      entries: [{ spiffe_id: WEB, selectors: ['unix:uid:4000000000'] }],
    });
    using proxy = connectProxy(app.socketPath);
    assert.deepEqual(namesOf(await proxy.fetch({})), ['spiffe://example.org']);
    assert.equal(only(await proxy.fetch({ resource_names: ['ROOTCA'] })).kind, 'spiffe bundle');
    const stream = proxy.stream();
    stream.ask('default');
    assert.deepEqual(await stream.ending(), {
      code: 'PERMISSION_DENIED',
      details: 'no policy entry for this process grants default',
    });
  });
});

describe('a change of the policy', { timeout: 60_000 }, () => {
  it('takes an identity from an open stream and leaves the others alone', async () => {
    await using app = await startApp({ entries: BOTH });
    using proxy = connectProxy(app.socketPath);
    const [web, api, bundle] = ['default', API, 'ROOTCA'].map((name) => {
      const stream = proxy.stream();
      stream.ask(name);
      return stream;
    });
    assert.ok(web && api && bundle);
    for (const stream of [web, api, bundle]) await stream.next();
    await app.setPolicy([{ spiffe_id: API }]);
    // The first identity is another one now.
    assert.equal(certificateOf(only(await web.next())).uri, `URI:${API}`);
    await app.setPolicy([]);
    assert.equal((await web.ending()).code, 'PERMISSION_DENIED');
    assert.equal((await api.ending()).code, 'PERMISSION_DENIED');
    bundle.ack('spiffe://example.org');
    assert.deepEqual(namesOf(await bundle.next()), ['spiffe://example.org']);
    assert.equal(api.responses.length, 1);
  });

  it('reaches a parked stream with the certificate it waits for', async () => {
    await using app = await startApp({ entries: [{ spiffe_id: API }] });
    using proxy = connectProxy(app.socketPath);
    const first = proxy.stream();
    first.ask(WEB);
    assert.equal((await first.ending()).code, 'PERMISSION_DENIED');
    const second = proxy.stream();
    second.ask(WEB);
    await eventually(
      async () => (await app.status()).proxies[0]?.streams[0]?.waiting[0]?.includes(WEB),
      { what: 'the stream is parked' },
    );
    await app.setPolicy(BOTH);
    assert.equal(certificateOf(only(await second.next())).uri, `URI:${WEB}`);
  });

  it('adds to a stream that watches everything, and ends it when one is withdrawn', async () => {
    await using app = await startApp({ entries: [{ spiffe_id: WEB }] });
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.ask();
    // What is there is sent at once, what has to be signed follows.
    const seen = new Set<string>();
    while (!seen.has(WEB)) for (const name of namesOf(await stream.next())) seen.add(name);
    assert.deepEqual([...seen], ['spiffe://example.org', WEB]);
    await app.setPolicy(BOTH);
    assert.deepEqual(namesOf(await stream.next()), [API]);
    await app.setPolicy([{ spiffe_id: API }]);
    // State of the world cannot say that one of them is no more; whoever asks again hears what is left.
    const { code, details } = await stream.ending();
    assert.equal(code, 'PERMISSION_DENIED');
    assert.match(details, new RegExp(`grants ${WEB} now`));
    const again = proxy.stream();
    again.ask();
    assert.deepEqual(namesOf(await again.next()), ['spiffe://example.org', API]);
  });
});
