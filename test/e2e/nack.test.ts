import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { connect } from 'node:tls';
import type { TrustBundle } from '../../src/identity/bundle.ts';
import type { X509Svid } from '../../src/identity/svid.ts';
import type { Issuer } from '../../src/issuer/issuer.ts';
import type { OwnBundle } from '../../src/signing.ts';
import { startApp, type TestApp } from '../support/app.ts';
import {
  findPlace,
  readBootstrap,
  replaceScalars,
  type Bootstrap,
  type Place,
} from '../support/bootstrap-file.ts';
import { startEnvoy, type Envoy } from '../support/envoy.ts';
import type { EnvoyVersion } from '../support/envoy-binary.ts';
import { eventually } from '../support/eventually.ts';
import { createForger, ED25519, P521, rsa, type Forgery } from '../support/forged.ts';
import { SERVER } from '../support/pair.ts';
import { freePort } from '../support/ports.ts';

/** Due a second after it was signed. */
const SOON = { issuer: { x509_svid_ttl: '20s' }, rotation: { fraction: 0.05, jitter: 0 } };
const DOMAIN = 'spiffe://example.org';

/** What Envoy would refuse, or accept although it is useless, and what Credence says of it. */
const FAULTS: readonly (readonly [Forgery | 'garbage', RegExp])[] = [
  [{ otherKey: true }, /private key does not fit/],
  [{ algorithm: rsa(1024) }, /1024 bits, 2048 are needed/],
  [{ keyUsage: ['keyAgreement'] }, /lacks digitalSignature/],
  [{ keyUsage: [] }, /lacks digitalSignature/],
  [{ algorithm: ED25519 }, /neither RSA nor of a curve/],
  [{ algorithm: P521 }, /curve that Envoy does not take/],
  [{ notBeforeMs: Date.now() - 9000, notAfterMs: Date.now() - 1000 }, /it expired at/],
  [{ ca: true }, /the leaf is a CA/],
  [{ uris: [`${DOMAIN}/somebody-else`] }, /its URI name is not/],
  [{ chain: ['issuing', 'leaf'] }, /./],
  ['garbage', /cannot be read/],
];
const IDS = FAULTS.map((_, n) => `${DOMAIN}/fault/${n}`);

for (const version of ['1.40', '1.36'] as const) {
  describe(`what may not leave, with Envoy ${version} (E22)`, { concurrency: true }, () => {
    it('leaves the last good certificate in use for every fault in a new one', async () => {
      const { decorateIssuer, heal } = await faultyRenewals();
      const entries = IDS.map((spiffe_id) => ({ spiffe_id }));
      await using app = await startApp({ entries, settings: SOON, deps: { decorateIssuer } });
      const place = await findPlace(app.socketPath);
      await using envoy = await startListeners(place, version, IDS);
      const first = await serials(envoy);
      assert.equal(Object.keys(first).length, IDS.length);

      for (const [n, [, words]] of FAULTS.entries()) {
        await eventually(() => app.log.lines.some(says(IDS[n] ?? '', words)), {
          what: `fault ${n} is noticed: ${String(words)}`,
        });
      }
      assert.deepEqual(await serials(envoy), first);
      const updates = await envoy.stats(/^sds\..*fault.*\.update_(success|rejected|failure)$/);
      for (const [stat, n] of updates) assert.equal(n, stat.endsWith('_success') ? 1 : 0, stat);
      assert.match(await app.get('/metrics'), /pushes_total\{kind="sotw",result="nack"\} 0/);

      heal();
      await eventually(
        async () => Object.entries(await serials(envoy)).every(([id, one]) => one !== first[id]),
        { what: 'all are renewed once the issuer is well', timeoutMs: 20_000 },
      );
      assert.match(await app.get('/metrics'), /pushes_total\{kind="sotw",result="nack"\} 0/);
    });

    it('leaves the last good roots in use for every fault in new ones', async () => {
      const forger = await createForger(Date.now());
      const { decorateBundle, set } = changingBundle();
      const entries = [{ spiffe_id: SERVER }];
      await using app = await startApp({ entries, deps: { decorateBundle } });
      const place = await findPlace(app.socketPath);
      await using envoy = await startListeners(place, version, [SERVER]);
      const roots = async () => (await envoy.certs()).flatMap((context) => context.roots);
      const first = await roots();
      assert.equal(first.length, 1);

      const root = forger.bundle('root');
      const [authority] = root.x509Authorities;
      assert.ok(authority);
      const broken: readonly TrustBundle[] = [
        forger.bundle(),
        forger.bundle('issuing'),
        { ...root, x509Authorities: [{ ...authority, der: Buffer.from('garbage') }] },
      ];
      for (const [n, bundle] of broken.entries()) {
        set(bundle);
        await eventually(() => app.log.count('error', 'trust bundle withheld') === n + 1, {
          what: `bundle ${n} is withheld`,
        });
      }
      assert.deepEqual(await roots(), first);
      assert.equal(await envoy.stat('sds.spiffe_example.org.update_success'), 1);
      assert.equal(await envoy.stat('sds.spiffe_example.org.update_rejected'), 0);

      set(root);
      await eventually(async () => (await roots())[0]?.serial !== first[0]?.serial, {
        what: 'a good one arrives',
      });
    });

    it('shows the words of Envoy when it refuses, and recovers with other content', async () => {
      // Version 1 with extensions (RFC 5280 4.1.2.1): BoringSSL is stricter than the last look.
      const { decorateIssuer, heal } = await faultyRenewals(asVersion1);
      const entries = [{ spiffe_id: SERVER }];
      await using app = await startApp({ entries, settings: SOON, deps: { decorateIssuer } });
      const place = await findPlace(app.socketPath);
      await using envoy = await startListeners(place, version, [SERVER]);
      const first = await serials(envoy);

      await eventually(async () => (await shown(app))?.refused != null, {
        what: 'the refusal is shown',
      });
      const refused = await shown(app);
      assert.match(refused?.refused?.text ?? '', /Failed to load certificate chain/);
      assert.equal(refused?.refused?.version, refused?.sent);
      assert.notEqual(refused?.acknowledged, refused?.sent);
      assert.ok(
        app.log.lines.some(
          ({ level, message, fields }) =>
            level === 'warn' &&
            message === 'proxy refused an update' &&
            String(fields.detail).includes('Failed to load certificate chain'),
        ),
      );
      const metrics = await app.get('/metrics');
      assert.match(metrics, /^credence_sds_pushes_total\{kind="sotw",result="nack"\} [1-9]/m);
      assert.match(metrics, /^credence_sds_refused_secrets 1$/m);
      assert.ok((await envoy.stat('sds.spiffe_example.org/server.update_rejected')) >= 1);
      // What Envoy received is not what it uses: only `/certs` tells.
      assert.deepEqual(await serials(envoy), first);

      heal();
      await eventually(
        async () => (await serials(envoy))[SERVER] !== first[SERVER] && recovered(await shown(app)),
        { what: 'other content is taken', timeoutMs: 20_000 },
      );
      assert.match(await app.get('/metrics'), /^credence_sds_refused_secrets 0$/m);
    });

    it('outlives that a new listener meets a stored secret that was refused (envoy#42438)', async (t) => {
      const { decorateIssuer, heal } = await faultyRenewals(asVersion1);
      const entries = [{ spiffe_id: SERVER }];
      await using app = await startApp({ entries, settings: SOON, deps: { decorateIssuer } });
      const place = await findPlace(app.socketPath);
      const { bootstrap, offer } = await listenersFromFile(t, place);
      offer('first');
      await using envoy = await startEnvoy({ bootstrap, version, name: 'server' });
      await envoy.waitLive();
      const rejected = () => envoy.stat('listener_manager.lds.update_rejected');
      await eventually(async () => (await shown(app))?.refused != null, { what: 'the refusal' });

      // It is not the daemon that is refused now, and Envoy does not try again by itself.
      offer('first', 'second');
      await eventually(async () => (await rejected()) === 1, { what: 'the listener is rejected' });
      assert.match(envoy.log(), /update rejected: .*second.*Failed to load certificate chain/);
      heal();
      await eventually(async () => recovered(await shown(app)), {
        what: 'other content is taken',
        timeoutMs: 20_000,
      });
      assert.equal((await envoy.certs()).length, 1);
      offer('first', 'second', 'third');
      await eventually(async () => (await envoy.certs()).length === 3, {
        what: 'listeners that come later are live',
      });
      assert.equal(await rejected(), 1);
    });

    it('gets a certificate on P-384 when the configuration says so', async () => {
      const settings = { issuer: { key_type: 'ec-p384' } };
      await using app = await startApp({ entries: [{ spiffe_id: SERVER }], settings });
      const place = await findPlace(app.socketPath);
      const bootstrap = await readBootstrap('server', place.replacements);
      await using envoy = await startEnvoy({ bootstrap, version, name: 'server' });
      await envoy.waitLive();
      const socket = connect({ port: place.port('server'), rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      const leaf = socket.getPeerX509Certificate();
      socket.destroy();
      assert.equal(leaf?.publicKey.asymmetricKeyDetails?.namedCurve, 'secp384r1');
      assert.equal(leaf.serialNumber.toLowerCase(), (await envoy.leaf(SERVER))?.serial);
    });

    it('shows why a listener that asks for roots as its certificate has none', async () => {
      await using app = await startApp({ entries: [{ spiffe_id: SERVER }] });
      const place = await findPlace(app.socketPath);
      const bootstrap = replaceScalars(
        await readBootstrap('server', place.replacements),
        new Map([[SERVER, 'ROOTCA']]),
      );
      await using envoy = await startEnvoy({ bootstrap, version, name: 'server' });
      await eventually(async () => (await shown(app, 'ROOTCA'))?.refused != null, {
        what: 'it is refused',
      });
      const refused = await shown(app, 'ROOTCA');
      assert.match(refused?.refused?.text ?? '', /incomplete private key/);
      assert.equal(refused?.acknowledged, null);
      assert.ok((await envoy.certs()).every(({ chain }) => chain.length === 0));
    });
  });
}

/** An issuer whose renewals are faulty until it is healed; the first of each identity is good. */
async function faultyRenewals(spoil?: (svid: X509Svid) => X509Svid) {
  const forgers = await Promise.all(IDS.map((id) => createForger(Date.now(), id)));
  const seen = new Set<string>();
  let healthy = false;
  const forge = async (id: string, good: X509Svid): Promise<X509Svid> => {
    if (spoil) return spoil(good);
    const n = IDS.indexOf(id);
    const fault = FAULTS[n]?.[0] ?? assert.fail();
    if (fault === 'garbage') return { ...good, chain: [Buffer.from('garbage')] };
    return (await forgers[n]?.svid(fault)) ?? assert.fail();
  };
  return {
    heal: () => void (healthy = true),
    decorateIssuer: (issuer: Issuer): Issuer => ({
      ...issuer,
      async mint(request, options) {
        const good = await issuer.mint(request, options);
        const isFirst = !seen.has(request.id);
        seen.add(request.id);
        return isFirst || healthy ? good : forge(request.id, good);
      },
    }),
  };
}

/** The same SVID with a certificate that claims the first version of X.509. */
function asVersion1(svid: X509Svid): X509Svid {
  const [leaf, ...above] = svid.chain;
  assert.ok(leaf);
  const spoilt = Buffer.from(leaf);
  const version = spoilt.indexOf(Buffer.from('a003020102', 'hex'));
  assert.ok(version > 0);
  spoilt[version + 4] = 0;
  const pem = `-----BEGIN CERTIFICATE-----\n${spoilt.toString('base64')}\n-----END CERTIFICATE-----\n`;
  const before = Buffer.from(svid.chainPem);
  const rest = before.subarray(before.indexOf('-----BEGIN', 1));
  return { ...svid, chain: [spoilt, ...above], chainPem: Buffer.concat([Buffer.from(pem), rest]) };
}

/** A bundle that the test replaces. */
function changingBundle() {
  let now: TrustBundle | undefined;
  const listeners = new Set<() => void>();
  return {
    set: (bundle: TrustBundle) => {
      now = bundle;
      for (const listener of listeners) listener();
    },
    decorateBundle: (bundle: OwnBundle): OwnBundle => ({
      current: () => now ?? bundle.current(),
      onChange(listener) {
        listeners.add(listener);
        return bundle.onChange(listener);
      },
    }),
  };
}

/** An Envoy with a listener for each identity, all of them live. */
async function startListeners(
  place: Place,
  version: EnvoyVersion,
  ids: readonly string[],
): Promise<Envoy> {
  const bootstrap: Bootstrap = await readBootstrap('server', place.replacements);
  const { listeners } = bootstrap.static_resources;
  const [original] = listeners.splice(0);
  assert.ok(original);
  for (const id of ids) {
    const replacements = new Map<string | number, string | number>([
      [SERVER, id],
      ['mtls', `mtls ${id}`],
      [place.port('server'), await freePort()],
    ]);
    listeners.push(replaceScalars(original, replacements));
  }
  const envoy = await startEnvoy({ bootstrap, version, name: 'server' });
  await envoy.waitLive();
  return envoy;
}

/** A bootstrap that takes its listeners, copies of the server's, from a file, and what writes it. */
async function listenersFromFile(t: TestContext, place: Place) {
  const folder = mkdtempSync(join(tmpdir(), 'credence-lds-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const [file, next] = [join(folder, 'lds.json'), join(folder, 'next')];
  const bootstrap = await readBootstrap('server', place.replacements);
  const [original] = bootstrap.static_resources.listeners.splice(0);
  assert.ok(original);
  const lds = { path_config_source: { path: file } };
  const ports = new Map<string, number>();
  for (const name of ['first', 'second', 'third']) ports.set(name, await freePort());
  return {
    bootstrap: { ...bootstrap, dynamic_resources: { lds_config: lds } },
    /** Replaces the file as a whole, which is what Envoy watches for. */
    offer: (...names: readonly string[]) => {
      const resources = names.map((name) => {
        const replacements = new Map<string | number, string | number>([
          ['mtls', name],
          [place.port('server'), ports.get(name) ?? assert.fail()],
        ]);
        const listener = replaceScalars(original, replacements);
        return { '@type': 'type.googleapis.com/envoy.config.listener.v3.Listener', ...listener };
      });
      writeFileSync(next, JSON.stringify({ resources }));
      renameSync(next, file);
    },
  };
}

/** Serials in use by URI, as Envoy itself says. */
async function serials(envoy: Envoy): Promise<Readonly<Record<string, string>>> {
  const chains = (await envoy.certs()).flatMap(({ chain }) => chain);
  return Object.fromEntries(
    chains.flatMap(({ uris: [uri], serial }) => (uri ? [[uri, serial]] : [])),
  );
}

type Shown = Awaited<ReturnType<typeof shown>>;

/** A secret as `/status` shows it, the server's certificate unless told. */
async function shown(app: TestApp, wanted = SERVER) {
  const { proxies } = await app.status();
  return proxies
    .flatMap(({ streams }) => streams.flatMap(({ secrets }) => secrets))
    .find(({ name }) => name === wanted);
}

function recovered(secret: Shown): boolean {
  return secret !== undefined && secret.refused === null && secret.acknowledged === secret.sent;
}

function says(id: string, words: RegExp) {
  return ({ fields }: { fields: object }) => {
    const text = JSON.stringify(fields, (_key, value: unknown) =>
      value instanceof Error ? value.message : value,
    );
    return text.includes(id) && words.test(text);
  };
}
