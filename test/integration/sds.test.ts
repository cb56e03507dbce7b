import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { startApp, type TestApp } from '../support/app.ts';
import { eventually } from '../support/eventually.ts';
import { connectProxy, endingOfFetch, type Proxy } from '../support/sds-proxy.ts';
import type { DecodedResponse, DecodedSecret } from '../support/secrets.ts';

const WEB = 'spiffe://example.org/web';
const API = 'spiffe://example.org/api';
const BOTH = [
  { spiffe_id: WEB, priority: 10, federates_with: ['partner.example'] },
  { spiffe_id: API },
];
const SHORT = { sds: { pending_timeout: '300ms', denied_park: '400ms' } };
const SWITCH = 'disable_spiffe_cert_validation';

const namesOf = (response: DecodedResponse) => response.secrets.map(({ name }) => name);

function only(response: DecodedResponse): DecodedSecret {
  const [secret, ...others] = response.secrets;
  assert.ok(secret && others.length === 0, `${response.secrets.length} secrets`);
  return secret;
}

/** Certificates and key of a secret, after what every proxy relies on was checked. */
function certificateOf(secret: DecodedSecret | undefined) {
  assert.ok(secret?.kind === 'certificate', secret?.kind);
  const [leaf, ...issuers] = secret.chain
    .split(/(?<=-----END CERTIFICATE-----\n)/)
    .map((pem) => new X509Certificate(pem));
  assert.ok(leaf);
  assert.match(secret.key, /^-----BEGIN PRIVATE KEY-----/);
  const key = createPrivateKey(secret.key);
  assert.ok(leaf.checkPrivateKey(key));
  assert.ok(issuers.length > 0 && leaf.checkIssued(issuers[0] ?? leaf));
  assert.ok(
    issuers.every((issuer) => issuer.subject !== issuer.issuer),
    'a root in the chain',
  );
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' }).toString('base64');
  return { uri: leaf.subjectAltName, serial: leaf.serialNumber, spki };
}

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

describe('the form of bundles', { timeout: 60_000 }, () => {
  // What SPIRE's agent does with the same key (bool and the texts Go takes for one; else ignored).
  const table: readonly (readonly [config: boolean, metadata: object | undefined, kind: string])[] =
    [
      [true, undefined, 'spiffe bundle'],
      [true, { boolValue: true }, 'plain bundle'],
      [true, { stringValue: 'true' }, 'plain bundle'],
      [true, { boolValue: false }, 'spiffe bundle'],
      [true, { stringValue: 'test' }, 'spiffe bundle'],
      [true, { numberValue: 1 }, 'spiffe bundle'],
      [false, undefined, 'plain bundle'],
      [false, { stringValue: 'true' }, 'plain bundle'],
      [false, { stringValue: 'false' }, 'spiffe bundle'],
      [false, { boolValue: false }, 'spiffe bundle'],
      [false, { stringValue: 'test' }, 'plain bundle'],
      [false, { numberValue: 0 }, 'plain bundle'],
    ];
  for (const config of [true, false]) {
    it(`is the configured one (${config}) unless the proxy says otherwise`, async () => {
      await using app = await startApp({ settings: { sds: { spiffe_cert_validation: config } } });
      using proxy = connectProxy(app.socketPath);
      for (const [configured, metadata, kind] of table) {
        if (configured !== config) continue;
        const stream = proxy.stream();
        stream.send({ resource_names: ['ROOTCA'], node: node(metadata) });
        assert.equal(only(await stream.next()).kind, kind, JSON.stringify(metadata));
        // The node need not be repeated.
        stream.ack('spiffe://example.org');
        assert.equal(only(await stream.next()).kind, kind, JSON.stringify(metadata));
        stream.cancel();
      }
    });
  }

  it('refuses ALL in plain form, which does not keep domains apart', async () => {
    await using app = await startApp();
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.send({ resource_names: ['ALL'], node: node({ boolValue: true }) });
    const { code, details } = await stream.ending();
    assert.equal(code, 'PERMISSION_DENIED');
    assert.match(details, /ALL needs the SPIFFE validator/);
  });

  it('keeps other names for the aliases, ALL for the plain own bundle among them', async () => {
    const sds = {
      default_svid_name: 'me',
      default_bundle_name: 'ALL',
      default_all_bundles_name: 'everybody',
      spiffe_cert_validation: false,
    };
    await using app = await startApp({ settings: { sds } });
    using proxy = connectProxy(app.socketPath);
    const response = await proxy.fetch({ resource_names: ['me', 'ALL'] });
    assert.deepEqual(
      response.secrets.map(({ name, kind }) => [name, kind]),
      [
        ['me', 'certificate'],
        ['ALL', 'plain bundle'],
      ],
    );
  });
});

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
