import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findPlace, readBootstrap, type Place } from '../support/bootstrap-file.ts';
import { createDaemon, entryForMe } from '../support/daemon.ts';
import { startEnvoy } from '../support/envoy.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-client.ts';
import { CLIENT, SERVER } from '../support/pair.ts';
import { mtlsGet, svidOf, tcpConnect } from '../support/tls-client.ts';

const OTHER = 'spiffe://example.org/other';
const UPDATES = 'client_ssl_socket_factory.ssl_context_update_by_sds';
const ENTRIES = [SERVER, CLIENT, OTHER].map(entryForMe);

for (const version of ['1.40', '1.36'] as const) {
  describe(`mTLS with Envoy ${version}`, () => {
    const start = async (name: 'server' | 'client', { replacements }: Place) =>
      startEnvoy({ bootstrap: await readBootstrap(name, replacements), version, name });

    it('keeps the port closed until the secrets come, then lets in only SVIDs (E1)', async () => {
      await using daemon = await createDaemon({ entries: ENTRIES });
      const place = await findPlace(daemon.socketPath);
      const port = place.port('server');
      await using envoy = await start('server', place);
      await eventually(async () => (await envoy.admin('/init_dump')).includes(`SdsApi ${SERVER}`), {
        what: 'the listener waits for its certificate',
      });
      assert.notEqual(await envoy.state(), 'LIVE');
      await assert.rejects(tcpConnect(port), { code: 'ECONNREFUSED' });

      await daemon.start();
      await envoy.waitLive();
      const leaf = await envoy.leaf(SERVER);
      assert.deepEqual(leaf?.uris, [SERVER]);
      const lifeMs = leaf.expiresMs - Date.now();
      assert.ok(lifeMs > 3_500_000 && lifeMs <= 3_600_000, `expires in ${lifeMs} ms`);

      const mine = svidOf(await daemon.fetchX509(), CLIENT);
      const headers = await mtlsGet({ port, server: SERVER, trust: mine.bundle, svid: mine });
      assert.match(String(headers['x-forwarded-client-cert']), new RegExp(`URI=${CLIENT}$`));

      await assert.rejects(mtlsGet({ port, server: SERVER, trust: mine.bundle }));

      const secrets = await envoy.admin('/config_dump?resource=dynamic_active_secrets');
      assert.match(secrets, /"trust_domains"/);
      assert.match(secrets, /"trust_bundles"/);

      // The same names under another root: what counts is the signature.
      await using impostor = await createDaemon({ entries: ENTRIES });
      await impostor.start();
      const forged = svidOf(await impostor.fetchX509(), CLIENT);
      await assert.rejects(mtlsGet({ port, server: SERVER, trust: mine.bundle, svid: forged }));

      const stats = await envoy.stats(/^listener\..*_\d+\.ssl\.(fail_verify|handshake)/);
      const sum = (suffix: string) =>
        [...stats].reduce((total, [name, n]) => total + (name.endsWith(suffix) ? n : 0), 0);
      assert.equal(sum('.handshake'), 1);
      assert.equal(sum('.fail_verify_no_cert'), 1);
      assert.equal(sum('.fail_verify_error'), 1);
    });

    it('reaches the server it pinned and no other member of the domain (E2)', async () => {
      await using daemon = await createDaemon({ entries: ENTRIES });
      await daemon.start();
      const place = await findPlace(daemon.socketPath);
      await using server = await start('server', place);
      await using client = await start('client', place);
      // A second client expects somebody else where the server is.
      const elsewhere = await findPlace(daemon.socketPath);
      await using strict = await startEnvoy({
        bootstrap: await readBootstrap(
          'client',
          new Map([...elsewhere.replacements, [10001, place.port('server')], [SERVER, OTHER]]),
        ),
        version,
        name: 'strict client',
      });
      await Promise.all([server.waitLive(), client.waitLive(), strict.waitLive()]);

      assert.equal((await httpGet(place.port('client'))).status, 200);
      assert.equal(await client.stat('cluster.server.ssl.fail_verify_san'), 0);
      assert.ok((await client.stat(`cluster.server.${UPDATES}`)) >= 1);
      assert.deepEqual((await client.leaf(CLIENT))?.uris, [CLIENT]);

      const refused = await httpGet(elsewhere.port('client'));
      assert.equal(refused.status, 503);
      assert.ok((await strict.stat('cluster.server.ssl.fail_verify_san')) >= 1);
    });

    it('connects two Envoys, each of which learns who the other is (E3)', async () => {
      await using daemon = await createDaemon({ entries: ENTRIES });
      await daemon.start();
      const place = await findPlace(daemon.socketPath);
      await using server = await start('server', place);
      await using client = await start('client', place);
      await Promise.all([server.waitLive(), client.waitLive()]);

      const { status, headers } = await httpGet(place.port('client'), {
        'x-forwarded-client-cert': 'By=spiffe://example.org/server;URI=spiffe://example.org/admin',
      });
      assert.equal(status, 200);
      assert.match(
        String(headers['x-forwarded-client-cert']),
        new RegExp(`^By=${SERVER};Hash=[0-9a-f]{64};URI=${CLIENT}$`),
      );
      assert.equal(headers['x-peer-serial'], (await client.leaf(CLIENT))?.serial);

      const dump = await server.admin('/config_dump?resource=dynamic_active_secrets');
      assert.match(dump, new RegExp(`"name": "${SERVER}"`));
      assert.match(dump, /"validation_context"/);
      // Envoy takes a secret of the wrong kind as "verify nobody": its list of roots shows that.
      for (const envoy of [server, client]) {
        const contexts = await envoy.certs();
        assert.ok(contexts.some(({ roots }) => roots.length === 1));
      }
    });
  });
}
