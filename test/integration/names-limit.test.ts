import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { connectDeltaProxy, type DeltaStream } from '../support/delta-proxy.ts';
import { eventually } from '../support/eventually.ts';
import { startServing, type TestServing } from '../support/protocol-client-serving.ts';

const LIMIT = 5;
const ROOTS = 'spiffe://example.org';
const id = (n: number) => `${ROOTS}/${n}`;

/** The daemon with these limits, and a process that may hold so many identities. */
async function serve(t: TestContext, limits: string, identities: number) {
  const daemon = await startServing(1, `limits: { ${limits} }`);
  const proxy = connectDeltaProxy(daemon.path(0));
  t.after(async () => {
    proxy[Symbol.dispose]();
    await daemon[Symbol.asyncDispose]();
  });
  const grant = async (count: number) => {
    const entries = Array.from({ length: count }, (_, n) => ({
      process: 0,
      id: id(n),
      priority: 0,
    }));
    daemon.setPolicy(entries);
    // Streams look at it after a moment.
    await daemon.advance(5);
  };
  await grant(identities);
  return { daemon, grant, open: () => proxy.stream() };
}

/** Reads until so many names have been served, and acknowledges each response. */
async function gather(stream: DeltaStream, count: number): Promise<void> {
  const names = new Set<string>();
  while (names.size < count) {
    for (const { name } of (await stream.next()).resources) names.add(name);
    stream.ack();
  }
}

async function limited({ registry }: TestServing): Promise<number> {
  const metric = await registry.getSingleMetric('credence_sds_limited_total')?.get();
  const own = metric?.values.find(({ labels }) => labels['limit'] === 'names');
  return own?.value ?? assert.fail('the limit is not counted');
}

const names = ({ serving }: TestServing) =>
  serving.streams().reduce((sum, { resources }) => sum + resources.length, 0);

describe('limits.names_per_stream', { timeout: 60_000 }, () => {
  it('does not count what a proxy is given that asked for everything', async (t) => {
    const { daemon, grant, open } = await serve(t, `names_per_stream: ${LIMIT}`, 2 * LIMIT);
    const stream = open();
    stream.send({ subscribe: ['*'] });
    await gather(stream, 2 * LIMIT + 1);
    await grant(4 * LIMIT);
    await gather(stream, 2 * LIMIT);
    // As many by name as it may, of everything and besides.
    stream.send({ subscribe: [id(0), id(1), ROOTS, 'ROOTCA', 'default'] });
    await gather(stream, LIMIT);
    assert.deepEqual([names(daemon), await limited(daemon)], [4 * LIMIT + 3, 0]);
  });

  it('ends a stream that asks for everything and for too much by name', async (t) => {
    const { daemon, open } = await serve(t, `names_per_stream: ${LIMIT}`, 2 * LIMIT);
    const stream = open();
    stream.send({ subscribe: ['*'] });
    await gather(stream, 2 * LIMIT + 1);
    for (let n = 0; n < LIMIT; n++) {
      stream.send({ subscribe: [id(n)] });
      await gather(stream, 1);
    }
    stream.send({ subscribe: [id(LIMIT)] });
    await assert.rejects(stream.next(), /RESOURCE_EXHAUSTED a stream has 6 names, at most 5/);
    await eventually(() => daemon.serving.streams().length === 0, { what: 'it is forgotten' });
    assert.equal(await limited(daemon), 1);
  });
});

describe('limits.names', { timeout: 60_000 }, () => {
  /** Of 64 one user may have 28. */
  const ALL = 'names: 64';

  it('ends a stream for everything that is more, whether it answers or not', async (t) => {
    const { daemon, grant, open } = await serve(t, ALL, 40);
    const first = open();
    first.send({ subscribe: ['*'] });
    await assert.rejects(first.next(), /RESOURCE_EXHAUSTED uid \d+ has 0 names, 64 are left/);
    await grant(20);
    const silent = open();
    silent.send({ subscribe: ['*'] });
    await silent.next();
    const second = open();
    second.send({ subscribe: ['*'] });
    await assert.rejects(second.next(), /RESOURCE_EXHAUSTED uid \d+ has 21 names/);
    assert.deepEqual([names(daemon), await limited(daemon)], [21, 2]);
    // Another policy makes it more.
    await grant(40);
    const { code } = await silent.ending();
    assert.equal(code, 'RESOURCE_EXHAUSTED');
    await grant(20);
    const again = open();
    again.send({ subscribe: ['*'] });
    await gather(again, 21);
  });
});
