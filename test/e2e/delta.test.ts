import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { eachSecretConfig, findPlace, readBootstrap } from '../support/bootstrap-file.ts';
import { createDaemon, entryForMe } from '../support/daemon.ts';
import { startEnvoy, type Envoy } from '../support/envoy.ts';
import { eventually } from '../support/eventually.ts';
import { CLIENT, SERVER, startPair, startWatchedLoad, type WatchedLoad } from '../support/pair.ts';
import { mtlsGet, svidOf } from '../support/tls-client.ts';
import { startTap } from '../support/envoy-tap.ts';

const ENTRIES = [SERVER, CLIENT].map(entryForMe);
const DOMAIN = 'spiffe://example.org';
/** Bytes of two streams with a node in each first message, and of those with one in each message. */
const NODE_ONCE_MOST = 150_000;
const NODE_ALWAYS_LEAST = 180_000;

describe('Delta', { concurrency: true }, () => {
  for (const version of ['1.40', '1.36'] as const) {
    it(`rotates, outlives a restart and a withdrawal under load on ${version} (E11)`, async (t) => {
      await using daemon = await createDaemon({ svidTtl: '12s', entries: ENTRIES });
      await daemon.start();
      await using pair = await startPair(await findPlace(daemon.socketPath), {
        version,
        adapt: (bootstrap, side) => {
          eachSecretConfig(bootstrap, (_name, source) => {
            source['api_type'] = 'DELTA_GRPC';
            source['set_node_on_first_message_only'] = side === 'server';
          });
        },
      });
      assert.equal(await daemon.metric('credence_sds_streams', /kind="delta"/), 4);
      await eventually(
        async () => (await daemon.metric('credence_sds_pushes_total', /delta.*"ack"/)) === 4,
        { what: 'every secret is acknowledged' },
      );
      // Only newer ones leave the node out of an answer when told to.
      const once = version === '1.40';
      const told = await pair.server.stat('cluster.credence.upstream_cx_tx_bytes_total');
      assert.ok(once ? told < NODE_ONCE_MOST : told > NODE_ALWAYS_LEAST, `${told} bytes`);
      const untold = await pair.client.stat('cluster.credence.upstream_cx_tx_bytes_total');
      assert.ok(untold > NODE_ALWAYS_LEAST, `${untold} bytes`);
      const { proxies } = await daemon.status();
      assert.deepEqual(proxies.map((proxy) => proxy.node_id).sort(), ['client', 'server']);

      // The secrets that came let in whom they should, and nobody else.
      const svid = svidOf(await daemon.fetchX509(), CLIENT);
      const ask = { port: pair.serverPort, server: SERVER, trust: svid.bundle };
      const { 'x-forwarded-client-cert': caller } = await mtlsGet({ ...ask, svid });
      assert.match(String(caller), new RegExp(`URI=${CLIENT}$`));
      await assert.rejects(mtlsGet(ask));

      await using load = startWatchedLoad(pair);
      await load.look();
      const hopeless = () => load.expired() ?? daemon.died();
      await anotherSerial(load, [SERVER, CLIENT], { what: 'both ends rotate', hopeless });
      await daemon.stop('SIGKILL');
      await daemon.start();
      const what = 'both ends get new certificates from the restarted daemon';
      await anotherSerial(load, [SERVER, CLIENT], { what, hopeless });

      const held = await pair.client.leaf(CLIENT);
      const [updates, failures] = [await successes(pair.client), await serverFailures(pair.server)];
      await daemon.setPolicy([entryForMe(SERVER)]);
      await eventually(() => refusal(CLIENT).test(pair.client.log()), {
        what: 'the withdrawal is logged',
      });
      const { sent } = load.count();
      await eventually(() => load.count().sent > sent + 150, { what: 'load goes on', hopeless });
      assert.equal((await pair.client.leaf(CLIENT))?.serial, held?.serial);
      assert.equal(await serverFailures(pair.server), failures);

      await daemon.setPolicy(ENTRIES);
      await eventually(async () => (await successes(pair.client)) > updates, {
        what: 'the secret is served again',
        hopeless,
      });
      await anotherSerial(load, [CLIENT], { what: 'the client end rotates again', hopeless });

      const { sent: total, answered, failures: failed } = await load.stop();
      t.diagnostic(`${total} requests, ${failed.length} failed`);
      assert.deepEqual(failed, []);
      assert.equal(answered, total);
      for (const envoy of [pair.server, pair.client]) {
        const rejected = await envoy.stats(/^sds\..*\.update_rejected$/);
        assert.equal(rejected.size, 2);
        assert.deepEqual(new Set(rejected.values()), new Set([0]));
      }
    });

    it(`answers an Envoy ${version} that says what it still holds (E11)`, async () => {
      await using daemon = await createDaemon({ entries: ENTRIES });
      await daemon.start();
      await using tap = await startTap(
        join(dirname(daemon.socketPath), 'tap.sock'),
        daemon.socketPath,
      );
      const bootstrap = await readBootstrap('server', (await findPlace(tap.path)).replacements);
      eachSecretConfig(bootstrap, (_name, source) => (source['api_type'] = 'DELTA_GRPC'));
      await using envoy = await startEnvoy({ bootstrap, version, name: 'server' });
      await envoy.waitLive();
      const before = await envoy.leaf(SERVER);
      const dump = await envoy.admin('/config_dump?resource=dynamic_active_secrets');
      const versions = [...dump.matchAll(/"version_info": "(.+?)"/g)].map(
        (match) => match[1] ?? '',
      );
      assert.equal(versions.length, 2);
      const lives = tap.sent().length;
      assert.equal(lives, 1);

      await daemon.stop('SIGKILL');
      await daemon.start();
      await eventually(async () => (await envoy.leaf(SERVER))?.serial !== before?.serial, {
        what: 'a new certificate replaces what Envoy held',
      });
      // Its bundle has not changed: an equal secret is answered all the same.
      await eventually(
        async () => (await envoy.stat('sds.spiffe_example.org.update_success')) === 2,
        { what: 'the bundle is served again' },
      );
      const [first, ...later] = tap.sent();
      for (const held of versions) {
        assert.ok(!first?.includes(held), 'an acknowledgement states no version');
        assert.ok(
          later.some((bytes) => bytes.includes(held)),
          `${held} is stated`,
        );
      }
      const status = await daemon.status();
      const names = status.proxies.flatMap(({ streams }) => streams.flatMap((s) => s.secrets));
      assert.deepEqual(names.map(({ name }) => name).sort(), [DOMAIN, SERVER]);
    });
  }
});

/** Waits until each of these identities has one more certificate in use. */
async function anotherSerial(
  load: WatchedLoad,
  uris: readonly string[],
  { what, hopeless }: { what: string; hopeless: () => string | undefined },
): Promise<void> {
  await load.look();
  const count = (uri: string) => load.serials.get(uri)?.length ?? 0;
  const held = new Map(uris.map((uri) => [uri, count(uri)]));
  await eventually(
    async () => {
      await load.look();
      return uris.every((uri) => count(uri) > (held.get(uri) ?? 0));
    },
    { what, hopeless, timeoutMs: 25_000 },
  );
}

/** Envoy's line about a stream that ended with PERMISSION_DENIED, in words a person can read. */
function refusal(name: string): RegExp {
  return new RegExp(`DeltaSecrets gRPC config stream to credence closed: 7, [^%]* ${name}\\b`);
}

function successes(client: Envoy): Promise<number> {
  return client.stat('sds.spiffe_example.org/client.update_success');
}

function serverFailures(server: Envoy): Promise<number> {
  return server.stat('sds.spiffe_example.org/server.update_failure');
}
