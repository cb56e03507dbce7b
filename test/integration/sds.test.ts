import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { certificateOf, namesOf, only } from '../support/answers.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { eventually } from '../support/eventually.ts';
import { connectProxy, endingOfFetch, type Proxy } from '../support/sds-proxy.ts';

const WEB = 'spiffe://example.org/web';
const API = 'spiffe://example.org/api';
const BOTH = [
  { spiffe_id: WEB, priority: 10, federates_with: ['partner.example'] },
  { spiffe_id: API },
];
const SHORT = { sds: { pending_timeout: '300ms', denied_park: '400ms' } };
const SWITCH = 'disable_spiffe_cert_validation';

function node(metadata?: object) {
  const fields = metadata === undefined ? {} : { metadata: { fields: { [SWITCH]: metadata } } };
  return { id: 'proxy', cluster: 'c', ...fields };
}

describe('SDS over the real socket', { timeout: 60_000 }, () => {
  let app: TestApp;
  let proxy: Proxy;
  before(async () => {
    app = await startApp({ entries: BOTH, settings: SHORT });
    proxy = connectProxy(app.socketPath);
  });
  after(async () => {
    proxy.close();
    await app[Symbol.asyncDispose]();
  });

  it('serves the first identity as default, key and chain fitting', async () => {
    const stream = proxy.stream();
    stream.ask('default');
    const response = await stream.next();
    assert.equal(only(response).name, 'default');
    assert.equal(certificateOf(only(response)).uri, `URI:${WEB}`);
    assert.ok(response.version && response.nonce);
    assert.match(response.controlPlane, /^credence\/\d+\.\d+\.\d+ node=node-1$/);
    stream.cancel();
  });

  for (const id of [WEB, API]) {
    it(`serves ${id} under its own name`, async () => {
      const stream = proxy.stream();
      stream.ask(id);
      const secret = only(await stream.next());
      assert.deepEqual([secret.name, certificateOf(secret).uri], [id, `URI:${id}`]);
      stream.cancel();
    });
  }

  for (const name of ['ROOTCA', 'spiffe://example.org', 'ALL']) {
    it(`serves ${name} as the own trust domain, with roots`, async () => {
      const stream = proxy.stream();
      stream.ask(name);
      const secret = only(await stream.next());
      assert.ok(secret.kind === 'spiffe bundle');
      assert.deepEqual([secret.name, Object.keys(secret.domains)], [name, ['example.org']]);
      const root = new X509Certificate(secret.domains['example.org'] ?? '');
      assert.ok(root.ca && root.subject === root.issuer);
      stream.cancel();
    });
  }

  it('answers several names at once, aliases of one secret among them, each once', async () => {
    const stream = proxy.stream();
    const names = ['default', WEB, 'ROOTCA', 'spiffe://example.org', 'ALL'];
    stream.ask(...names, ...names);
    const response = await stream.next();
    assert.deepEqual(namesOf(response), names);
    const [byAlias, byId] = response.secrets.map((s) =>
      s.kind === 'certificate' ? certificateOf(s).serial : '',
    );
    assert.equal(byAlias, byId);
    stream.cancel();
  });

  it('serves everything under SPIFFE names when no name is asked for', async () => {
    for (const names of [[], [''], ['*']]) {
      const stream = proxy.stream();
      stream.ask(...names);
      assert.deepEqual(namesOf(await stream.next()), ['spiffe://example.org', WEB, API]);
      stream.cancel();
    }
  });

  it('answers the first request of a stream whatever it states of an earlier one', async () => {
    const first = proxy.stream();
    first.ask('default');
    const { version, nonce } = await first.next();
    const second = proxy.stream();
    second.send({ resource_names: ['default'], version_info: version, response_nonce: nonce });
    assert.equal((await second.next()).version, version);
    for (const stream of [first, second]) stream.cancel();
  });

  it('answers changed names at once, with the same version for the same content', async () => {
    const stream = proxy.stream();
    stream.ask('default');
    const first = await stream.next();
    stream.ack('ROOTCA');
    assert.deepEqual(namesOf(await stream.next()), ['ROOTCA']);
    stream.ack('ROOTCA', 'default');
    const again = await stream.next();
    assert.deepEqual([namesOf(again), again.version], [['default'], first.version]);
    assert.notEqual(again.nonce, first.nonce);
    stream.cancel();
  });

  it('ignores names in a request whose nonce is not the newest', async () => {
    const stream = proxy.stream();
    stream.ask('default');
    await stream.next();
    stream.send({ response_nonce: 'bogus', resource_names: [API] });
    stream.ack('ROOTCA');
    assert.deepEqual(namesOf(await stream.next()), ['ROOTCA']);
    stream.cancel();
  });

  it('takes a missing type for the one there is and refuses another', async () => {
    const without = proxy.stream();
    without.send({ type_url: '', resource_names: ['default'] });
    assert.deepEqual(namesOf(await without.next()), ['default']);
    without.cancel();
    const wrong = proxy.stream();
    wrong.send({ type_url: 'type.googleapis.com/other', resource_names: ['default'] });
    const { code, details } = await wrong.ending();
    assert.equal(code, 'INVALID_ARGUMENT');
    assert.match(details, /type_url is type\.googleapis\.com\/other/);
  });

  const refused: readonly (readonly [name: string, words: RegExp])[] = [
    ['spiffe://example.org/other', /no policy entry.*spiffe:\/\/example\.org\/other/],
    ['spiffe://foreign.example/web', /no policy entry/],
    ['spiffe://foreign.example', /no policy entry.*federates/],
    ['file-cert:/etc/certs/a~b', /does not serve.*Istio agent/],
    ['file-root:system', /does not serve.*Istio agent/],
    ['kubernetes://gateway', /does not serve.*istiod/],
    ['builtin://', /does not serve.*istiod/],
    ['sds://credential', /does not serve.*credential-uds/],
    ['nonsense', /nonsense is not a name/],
    ['spiffe://example.org/../web', /is not a name/],
    ['100%\n', /100%\? is not a name/],
  ];
  for (const [name, words] of refused) {
    it(`refuses ${JSON.stringify(name)} with a sentence`, async () => {
      const stream = proxy.stream();
      stream.ask(name);
      const { code, details } = await stream.ending();
      assert.equal(code, 'PERMISSION_DENIED');
      assert.match(details, words);
      assert.ok(!details.includes(API), 'names nobody asked for');
    });
  }

  it('parks a name that is asked for again and refuses it in the end', async () => {
    const name = 'spiffe://example.org/parked';
    const first = proxy.stream();
    first.ask(name);
    assert.equal((await first.ending()).code, 'PERMISSION_DENIED');
    const started = performance.now();
    const second = proxy.stream();
    second.ask(name);
    assert.equal((await second.ending()).code, 'PERMISSION_DENIED');
    assert.ok(performance.now() - started > 350);
  });

  it('waits for a federated bundle a bounded time', async () => {
    const stream = proxy.stream();
    stream.ask('spiffe://partner.example');
    assert.deepEqual(await stream.ending(), {
      code: 'UNAVAILABLE',
      details: 'no trust bundle of partner.example is known yet',
    });
  });

  it('needs no metadata header, and ignores those it does not know', async () => {
    const response = await proxy.fetch({ resource_names: ['default'] });
    assert.equal(certificateOf(only(response)).uri, `URI:${WEB}`);
  });

  describe('FetchSecrets', () => {
    it('answers all names at once, without a nonce', async () => {
      const names = [API, 'ROOTCA', 'default'];
      const response = await proxy.fetch({ resource_names: names });
      assert.deepEqual([namesOf(response), response.nonce], [names, '']);
      assert.deepEqual(namesOf(await proxy.fetch({})), ['spiffe://example.org', WEB, API]);
    });

    it('ends as a stream does', async () => {
      const unknown = proxy.fetch({ resource_names: ['default', 'spiffe://example.org/no'] });
      assert.equal((await endingOfFetch(unknown)).code, 'PERMISSION_DENIED');
      const federated = proxy.fetch({ resource_names: ['spiffe://partner.example'] });
      assert.deepEqual(await endingOfFetch(federated), {
        code: 'UNAVAILABLE',
        details: 'no trust bundle of partner.example is known yet',
      });
      const wrong = proxy.fetch({ type_url: 'type.googleapis.com/other' });
      assert.equal((await endingOfFetch(wrong)).code, 'INVALID_ARGUMENT');
    });

    it('gives bundles in the form that the proxy asks for', async () => {
      const plain = await proxy.fetch({
        resource_names: ['ROOTCA'],
        node: node({ boolValue: true }),
      });
      assert.equal(only(plain).kind, 'plain bundle');
    });
  });

  it('leaves no stream behind', async () => {
    await eventually(async () => (await app.status()).proxies.length === 0, {
      what: 'all streams end',
    });
  });
});
