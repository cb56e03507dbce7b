import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { readOneCertificate } from '../../src/issuer/upstream-certificates.ts';
import { only } from '../support/answers.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { eventually } from '../support/eventually.ts';
import { holds, REQUESTS, startKubeWorld, type KubeWorld } from '../support/kube-ca.ts';
import { connectProxy } from '../support/sds-proxy.ts';
import { CSRS } from '../support/signing-cluster.ts';
import { credence } from '../support/transcript.ts';
import { foreignCas } from '../support/upstream.ts';

const foreign = foreignCas();
const CSR = { roots: { config_map: 'credence/roots' } };

/** The whole daemon below an authority that is asked at this server. */
function start(world: KubeWorld, type: 'kubernetes_csr' | 'cert_manager', more: object) {
  const { host, port, caFile: ca_file, tokenFile: token_file } = world.server;
  const api = { api_server: `${host}:${port}`, ca_file, token_file, timeout: '1s' };
  const upstream = { type, [type]: { ...api, ...more } };
  // A daemon that has just begun waits for proxies of before.
  const ca_rotation = { ack_timeout: '1s' };
  return startApp({ settings: { issuer: { upstream, ca_rotation } } });
}

/** The chain that a new proxy is given, leaf first. */
async function chainOf(app: TestApp): Promise<readonly X509Certificate[]> {
  using proxy = connectProxy(app.socketPath);
  const stream = proxy.stream();
  stream.send({ resource_names: ['default'] });
  const secret = only(await stream.next());
  assert.equal(secret.kind, 'certificate');
  const blocks = secret.chain.match(/-----BEGIN[^]*?-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((pem) => new X509Certificate(pem));
}

describe('a daemon whose CA is asked for through a cluster', { timeout: 60_000 }, () => {
  for (const [type, path, more] of [
    ['kubernetes_csr', CSRS, CSR],
    ['cert_manager', REQUESTS, { issuer_name: 'ca' }],
  ] as const) {
    it(`signs below what it is given, by ${type}, and asks for the next one`, async (t) => {
      const world = await startKubeWorld(t, foreign);
      world.signs();
      await using app = await start(world, type, more);
      const root = new X509Certificate(world.root.cert);
      const [leaf, ca] = await chainOf(app);
      assert.ok(leaf && ca && leaf.verify(ca.publicKey) && ca.verify(root.publicKey));
      const admin = join(dirname(app.socketPath), 'admin.sock');
      const command = (...words: string[]) =>
        credence(['ca', ...words, '--admin-socket', admin]).then(({ code, out, err }) =>
          assert.equal(code, 0, out + err),
        );
      await command('taint', readOneCertificate(ca.toString()).keyId.toString('hex'));
      const [, next] = await eventually(
        async () => {
          const chain = await chainOf(app);
          return chain[1]?.serialNumber === ca.serialNumber ? undefined : chain;
        },
        { what: 'an SVID below the next CA' },
      );
      assert.ok(next?.verify(root.publicKey));
      // The other kind is cleaned up by the cluster.
      assert.equal(world.cluster.all(path).length, type === 'cert_manager' ? 1 : 2);
    });
  }

  it('waits for its first CA, says why it was denied, and begins once it is signed', async (t) => {
    const world = await startKubeWorld(t, foreign);
    world.cluster.onCreated = (path, { metadata }) =>
      world.cluster.setStatus(path, metadata.name, {
        conditions: [holds('Denied', 'NodeUnknown', 'no such node')],
      });
    const starting = start(world, 'kubernetes_csr', CSR);
    await eventually(() => world.cluster.all(CSRS).length > 0, { what: 'a request' });
    world.signs();
    await using app = await starting;
    const said = app.log.lines.map(({ fields }) =>
      String((fields.err as Error | undefined)?.message),
    );
    assert.ok(said.some((message) => /it was denied \(NodeUnknown\): no such node$/.test(message)));
    assert.equal((await chainOf(app)).length, 2);
  });

  it('goes on signing while the server is away, and says so', async (t) => {
    const world = await startKubeWorld(t, foreign);
    world.signs();
    await using app = await start(world, 'kubernetes_csr', CSR);
    const [, ca] = await chainOf(app);
    await world.server.leave();
    const admin = join(dirname(app.socketPath), 'admin.sock');
    const { code, err } = await credence(['ca', 'prepare', '--admin-socket', admin]);
    assert.equal(code, 1);
    assert.match(err, /kubernetes_csr credence\.io\/node-ca at .*could not be asked to create/);
    const [, still] = await chainOf(app);
    assert.equal(still?.serialNumber, ca?.serialNumber);
    assert.match(await app.get('/ready'), /ready|ok/i);
    await world.server.back();
    const again = await credence(['ca', 'prepare', '--admin-socket', admin]);
    assert.equal(again.code, 0, again.err);
  });
});
