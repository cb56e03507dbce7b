import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startApp, type TestApp } from '../support/app.ts';
import {
  connectDeltaProxy,
  type DeltaProxy,
  type DeltaResource,
  type DeltaResponse,
  type DeltaStream,
} from '../support/delta-proxy.ts';
import { eventually } from '../support/eventually.ts';

const WEB = 'spiffe://example.org/web';
const API = 'spiffe://example.org/api';
const BOTH = [{ spiffe_id: WEB, priority: 10 }, { spiffe_id: API }];
const SHORT = { sds: { pending_timeout: '300ms', denied_park: '400ms' } };

/** Resources of as many responses as it takes: what is ready does not wait for the rest. */
async function gather(stream: DeltaStream, count: number): Promise<DeltaResource[]> {
  const resources: DeltaResource[] = [];
  while (resources.length < count) {
    resources.push(...(await stream.next()).resources);
    stream.ack();
  }
  return resources;
}

const namesOf = ({ resources }: Pick<DeltaResponse, 'resources'>) =>
  resources.map(({ name }) => name).sort();

describe('DeltaSecrets over the real socket', { timeout: 60_000 }, () => {
  let app: TestApp;
  let proxy: DeltaProxy;
  before(async () => {
    app = await startApp({ entries: BOTH, settings: SHORT });
  });
  after(async () => {
    await app[Symbol.asyncDispose]();
  });
  /** A stream of a proxy of its own, closed with the test. */
  function open(metadata?: Record<string, string>) {
    proxy = connectDeltaProxy(app.socketPath);
    return proxy.stream(metadata);
  }
  const close = () => proxy[Symbol.dispose]();
  const shown = async () => (await app.status()).proxies.flatMap(({ streams }) => streams);

  it('answers each name with its own version', async () => {
    const stream = open();
    stream.send({ subscribe: ['default', 'ROOTCA'], node: { id: 'p', cluster: 'c' } });
    const resources = await gather(stream, 2);
    assert.deepEqual(namesOf({ resources }), ['ROOTCA', 'default']);
    assert.equal(new Set(resources.map(({ version }) => version)).size, 2);
    for (const { name, version, secret } of resources) {
      assert.equal(secret.name, name);
      assert.match(version, /^[0-9a-f]{32}$/);
    }
    assert.match(stream.responses[0]?.controlPlane ?? '', /^credence\//);
    close();
  });

  it('takes an answer, a new name and a name less in one message', async () => {
    const stream = open();
    stream.send({ subscribe: ['default'] });
    await stream.next();
    stream.ack({ subscribe: ['ROOTCA'], unsubscribe: ['default'] });
    assert.deepEqual(namesOf(await stream.next()), ['ROOTCA']);
    stream.ack();
    await eventually(async () => (await shown()).some((one) => one.unanswered_pushes === 0), {
      what: 'the answer is noted',
    });
    close();
  });

  it('answers what is subscribed again, whatever versions a proxy says it holds', async () => {
    const first = open();
    first.send({ subscribe: ['default'] });
    const [resource] = (await first.next()).resources;
    assert.ok(resource);
    first.ack({ subscribe: ['default'] });
    assert.equal((await first.next()).resources[0]?.version, resource.version);
    close();
    const again = open();
    again.send({ subscribe: ['default'], initial: { default: resource.version } });
    // The same process gets the same SVID while it is fresh, hence the same version.
    assert.equal((await again.next()).resources[0]?.version, resource.version);
    close();
  });

  it('serves everything the process holds to a wildcard', async () => {
    for (const subscribe of [['*'], []]) {
      const stream = open();
      stream.send({ subscribe });
      const resources = await gather(stream, 3);
      assert.deepEqual(namesOf({ resources }), ['spiffe://example.org', API, WEB].sort());
      close();
    }
  });

  it('ends a stream with one name that is refused, as state of the world does', async () => {
    const stream = open();
    stream.send({ subscribe: ['spiffe://example.org/other'] });
    const { code, details } = await stream.ending();
    assert.equal(code, 'PERMISSION_DENIED');
    assert.match(details, /no policy entry for this process grants spiffe:\/\/example\.org\/other/);
    close();
  });

  it('says that a refused name is no more where others are served, and goes on', async () => {
    const stream = open();
    stream.send({ subscribe: ['default', 'spiffe://example.org/other', 'file-cert:x'] });
    const response = await stream.next();
    assert.deepEqual(namesOf(response), ['default']);
    assert.deepEqual([...response.removed].sort(), ['file-cert:x', 'spiffe://example.org/other']);
    stream.ack({ subscribe: ['spiffe://example.org/other'] });
    const second = await stream.next();
    assert.deepEqual([second.resources, second.removed], [[], ['spiffe://example.org/other']]);
    close();
  });

  it('says so at once for a single name, to who asked for it that way', async () => {
    const stream = open({ 'credence-absent': 'removed' });
    stream.send({ subscribe: ['spiffe://example.org/other'] });
    assert.deepEqual((await stream.next()).removed, ['spiffe://example.org/other']);
    stream.ack();
    close();
  });

  it('writes one line about a name that it says is absent again and again', async () => {
    const asked = 'spiffe://example.org/asked-often';
    for (let n = 0; n < 5; n++) {
      const stream = open({ 'credence-absent': 'removed' });
      stream.send({ subscribe: [asked] });
      assert.deepEqual((await stream.next()).removed, [asked]);
      close();
    }
    const levels = app.log.lines
      .filter(
        ({ message, fields }) =>
          message === 'secret refused' && fields.resource_names?.includes(asked),
      )
      .map(({ level }) => level);
    assert.deepEqual(levels, ['info', 'debug', 'debug', 'debug', 'debug']);
  });

  it('never sends refused content again, and shows the words of the proxy', async () => {
    const stream = open();
    stream.send({ subscribe: ['default'] });
    await stream.next();
    stream.nack('Failed to load private key');
    const refused = await eventually(
      async () => (await shown()).flatMap(({ secrets }) => secrets)[0]?.refused ?? false,
      { what: 'the refusal is shown' },
    );
    assert.equal(refused.text, 'Failed to load private key');
    stream.ack({ subscribe: ['default', 'ROOTCA'] });
    assert.deepEqual(namesOf(await stream.next()), ['ROOTCA']);
    close();
  });

  it('ends a stream that collects more names than it may have', async () => {
    const stream = open();
    for (let n = 0; n < 30; n++) {
      stream.send({ subscribe: Array.from({ length: 100 }, (_, k) => `sds://${n}/${k}`) });
    }
    const { code, details } = await stream.ending();
    assert.equal(code, 'RESOURCE_EXHAUSTED');
    assert.match(details, /2\d\d\d names, at most 2000/);
    close();
  });
});

describe('a policy that changes under an open DeltaSecrets stream', { timeout: 60_000 }, () => {
  it('grants, withdraws and grants again without ending the stream', async () => {
    await using app = await startApp({ entries: BOTH, settings: SHORT });
    using proxy = connectDeltaProxy(app.socketPath);
    const stream = proxy.stream();
    stream.send({ subscribe: [WEB, API] });
    assert.deepEqual(namesOf({ resources: await gather(stream, 2) }), [API, WEB]);
    await app.setPolicy([{ spiffe_id: WEB }]);
    const withdrawn = await stream.next();
    assert.deepEqual([withdrawn.resources, withdrawn.removed], [[], [API]]);
    stream.ack();
    await app.setPolicy(BOTH);
    assert.deepEqual(namesOf(await stream.next()), [API]);
    const everything = proxy.stream();
    everything.send({ subscribe: ['*'] });
    await gather(everything, 3);
    await app.setPolicy([{ spiffe_id: WEB }]);
    assert.deepEqual((await everything.next()).removed, [API]);
  });
});
