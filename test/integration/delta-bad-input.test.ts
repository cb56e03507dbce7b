import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { connectDeltaProxy, encodeDeltaRequest, type DeltaProxy } from '../support/delta-proxy.ts';
import { eventually } from '../support/eventually.ts';
import { startServing, type TestServing } from '../support/protocol-client-serving.ts';

const WEB = 'spiffe://example.org/web';
const ABSENT = { 'credence-absent': 'removed' };
/** Numbers of the fields of a `DeltaDiscoveryRequest`. */
const FIELD = { typeUrl: 2, subscribe: 3, unsubscribe: 4, nonce: 6 };

/** Time stands still: what is answered all the same has waited for nothing. */
describe('bad input on DeltaSecrets', { timeout: 120_000 }, () => {
  let daemon: TestServing;
  let proxy: DeltaProxy;
  before(async () => {
    daemon = await startServing(1, 'limits: { requests_per_second: 100000 }');
    daemon.setPolicy([{ process: 0, id: WEB, priority: 0 }]);
    proxy = connectDeltaProxy(daemon.path(0));
  });
  after(async () => {
    proxy[Symbol.dispose]();
    await daemon[Symbol.asyncDispose]();
  });
  afterEach(async () => {
    // Whatever happened, the daemon keeps nothing of it, and the connection is as good as before.
    proxy[Symbol.dispose]();
    await eventually(() => daemon.serving.streams().length === 0, { what: 'the streams end' });
    proxy = connectDeltaProxy(daemon.path(0));
  });

  const total = async (name: string, labels: Readonly<Record<string, string>>) => {
    const metric = await daemon.registry.getSingleMetric(name)?.get();
    const fits = Object.entries(labels);
    return (metric?.values ?? [])
      .filter((value) => fits.every(([key, text]) => value.labels[key] === text))
      .reduce((sum, { value }) => sum + value, 0);
  };
  const endings = (code?: string) =>
    total('credence_sds_stream_errors_total', code === undefined ? {} : { code });
  const answers = (result: string) => total('credence_sds_pushes_total', { kind: 'delta', result });
  /** All resources of all streams that the daemon keeps. */
  const kept = () => daemon.serving.streams().flatMap(({ resources }) => resources);

  /** Bytes as the first request end the stream with one counted reason, and with these words. */
  async function refuses(bytes: Uint8Array, status: string, words: RegExp, code: string) {
    const [all, own] = [await endings(), await endings(code)];
    const stream = proxy.stream();
    stream.sendBytes(bytes);
    const ending = await stream.ending();
    assert.equal(ending.code, status);
    assert.match(ending.details, words);
    assert.deepEqual([await endings(), await endings(code)], [all + 1, own + 1]);
  }

  describe('in nonces', () => {
    it('takes the nonce of another stream for no answer, and the names beside it', async () => {
      const [first, second] = [proxy.stream(), proxy.stream()];
      first.send({ subscribe: ['default'] });
      second.send({ subscribe: ['ROOTCA'] });
      const [{ nonce }] = [await second.next(), await first.next()];
      const [ack, nack] = [await answers('ack'), await answers('nack')];
      first.send({ nonce, subscribe: ['spiffe://example.org'] });
      first.send({ nonce, error: 'not mine', subscribe: ['ALL'] });
      await first.next();
      assert.equal((await first.next()).resources[0]?.name, 'ALL');
      assert.deepEqual([await answers('ack'), await answers('nack')], [ack, nack]);
      assert.ok(kept().every((one) => one.rejected === undefined && !one.acknowledged));
    });

    it('takes an answer to what was never sent for nothing', async () => {
      const stream = proxy.stream();
      stream.send({ subscribe: ['default'], nonce: 'never', error: 'never' });
      assert.equal((await stream.next()).resources[0]?.name, 'default');
      stream.ack();
      stream.ack();
      stream.send({ nonce: 'zzz' });
      stream.send({ error: 'without a nonce' });
      stream.send({ subscribe: ['ROOTCA'] });
      await stream.next();
      assert.equal(stream.responses.length, 2);
      const web = kept().find(({ name }) => name === 'default');
      assert.equal(web?.acknowledged, stream.responses[0]?.resources[0]?.version);
      assert.equal(web?.rejected, undefined);
    });
  });

  describe('in names', () => {
    it('keeps nothing of 10,000 names that are subscribed and unsubscribed in turn', async () => {
      const stream = proxy.stream();
      stream.send({ subscribe: ['default'] });
      await stream.next();
      let most = 0;
      for (let n = 0; n < 10_000; n++) {
        stream.send({ subscribe: [`${WEB}/${n}`], unsubscribe: [`${WEB}/${n - 1}`] });
        if (n % 500 < 499) continue;
        const last = `${WEB}/${n}`;
        await eventually(() => stream.responses.at(-1)?.removed.includes(last), { what: last });
        most = Math.max(most, kept().length);
      }
      assert.equal(most, 2);
      stream.send({ unsubscribe: [`${WEB}/9999`] });
      await eventually(() => kept().length === 1, { what: 'the last name is gone' });
      assert.equal(daemon.serving.rotation().held, 1);
    });

    it('ends a stream whose name has 64 KB', async () => {
      const subscribe = [`${WEB}/${'a'.repeat(65_536)}`];
      const words = /a resource name has 65\d{3} bytes, at most 2048/;
      await refuses(encodeDeltaRequest({ subscribe }), 'RESOURCE_EXHAUSTED', words, 'ERR_LIMIT');
      const fields = { unsubscribe: subscribe, subscribe: ['default'] };
      await refuses(encodeDeltaRequest(fields), 'RESOURCE_EXHAUSTED', words, 'ERR_LIMIT');
    });

    for (const [what, field] of Object.entries(FIELD)) {
      it(`ends a stream whose ${what} is not UTF-8`, async () => {
        const bytes = Buffer.of((field << 3) | 2, 3, 0x61, 0xff, 0xfe);
        const words = /not UTF-8/;
        await refuses(bytes, 'INVALID_ARGUMENT', words, 'ERR_BAD_REQUEST');
      });
    }

    it('serves beside 10,000 versions that a proxy says it holds, and keeps none', async () => {
      const entries = Array.from({ length: 10_000 }, (_, n) => [`${WEB}/${n}`, `v${n}`] as const);
      const stream = proxy.stream();
      stream.send({ subscribe: ['default'], initial: Object.fromEntries(entries) });
      const { resources, removed } = await stream.next();
      assert.deepEqual([resources.length, removed], [1, []]);
      assert.equal(kept().length, 1);
    });
  });

  describe('in types and sizes', () => {
    it('serves a request without a type URL: the service has only one', async () => {
      const stream = proxy.stream();
      stream.send({ subscribe: ['default'], typeUrl: '' });
      assert.equal((await stream.next()).resources.length, 1);
    });

    it('ends a stream with another type URL', async () => {
      const typeUrl = 'type.googleapis.com/envoy.config.cluster.v3.Cluster';
      const bytes = encodeDeltaRequest({ subscribe: ['default'], typeUrl });
      const words = /type_url is .*Cluster, this service serves .*Secret/;
      await refuses(bytes, 'INVALID_ARGUMENT', words, 'ERR_BAD_REQUEST');
    });

    it('ends a stream with a message of 20 MB', async () => {
      const limit = { limit: 'message_bytes' };
      const before = await total('credence_sds_limited_total', limit);
      const stream = proxy.stream();
      stream.sendBytes(Buffer.alloc(20_000_000));
      const { code, details } = await stream.ending();
      assert.equal(code, 'RESOURCE_EXHAUSTED');
      assert.match(details, /20000000.*1048576/);
      assert.equal(await total('credence_sds_limited_total', limit), before + 1);
    });

    it('answers or ends, with one counted reason, whatever bytes come', () =>
      fc.assert(
        fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
          const before = await endings();
          const stream = proxy.stream();
          stream.sendBytes(bytes);
          const served = await stream.next().then(
            () => true,
            () => false,
          );
          assert.equal(await endings(), served ? before : before + 1);
          stream.cancel();
        }),
        { numRuns: 100 },
      ));
  });

  describe('in numbers', () => {
    it('serves a thousand streams on one connection and forgets them with it', async () => {
      const streams = Array.from({ length: 1000 }, () => proxy.stream());
      for (const stream of streams) stream.send({ subscribe: ['default'] });
      for (const stream of streams) assert.equal((await stream.next()).resources.length, 1);
      assert.deepEqual([kept().length, daemon.serving.rotation().held], [1000, 1]);
      for (const stream of streams) stream.cancel();
      await eventually(() => kept().length === 0, { what: 'all are forgotten' });
      assert.equal(await total('credence_sds_streams', { kind: 'delta' }), 0);
    });

    it('refuses names from SNI at once, one stream each, and keeps none', async () => {
      const before = await total('credence_policy_denied_total', { reason: 'unknown_name' });
      const lines = daemon.log.count('info', 'secret refused');
      for (let round = 0; round < 10; round++) {
        const names = Array.from({ length: 100 }, (_, n) => `${round}-${n}.shop.example.com`);
        const streams = names.map((name) => ({ name, stream: proxy.stream(ABSENT) }));
        for (const { name, stream } of streams) stream.send({ subscribe: [name] });
        for (const { name, stream } of streams) {
          assert.deepEqual((await stream.next()).removed, [name]);
          stream.ack({ unsubscribe: [name] });
        }
        await eventually(() => kept().length === 0, { what: 'the names are dropped' });
        for (const { stream } of streams) stream.cancel();
      }
      const after = await total('credence_policy_denied_total', { reason: 'unknown_name' });
      assert.equal(after - before, 1000);
      // The log cannot be flooded either.
      assert.ok(daemon.log.count('info', 'secret refused') - lines <= 20);
    });

    it('refuses 300 names from SNI on one stream, and asked for again at once', async () => {
      const stream = proxy.stream(ABSENT);
      const names = Array.from({ length: 300 }, (_, n) => `${WEB}/sni-${n}`);
      for (let round = 0; round < 2; round++) {
        for (const name of names) stream.send({ subscribe: [name] });
        const removed = new Set<string>();
        while (removed.size < names.length) {
          for (const name of (await stream.next()).removed) removed.add(name);
          stream.ack();
        }
      }
      assert.equal(kept().length, names.length);
      stream.send({ unsubscribe: names });
      await eventually(() => kept().length === 0, { what: 'the names are dropped' });
    });
  });
});
