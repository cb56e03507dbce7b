import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  eachSecretConfig,
  findPlace,
  named,
  readBootstrap,
  replaceScalars,
  type Bootstrap,
} from '../support/bootstrap-file.ts';
import { createDaemon, entryForMe, type Daemon } from '../support/daemon.ts';
import { startEnvoy, type Envoy } from '../support/envoy.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-client.ts';
import { CLIENT, SERVER } from '../support/pair.ts';
import { freePort } from '../support/ports.ts';
import { mtlsGet, svidOf } from '../support/tls-client.ts';

const ENTRIES = [SERVER, CLIENT].map(entryForMe);
const DOMAIN = 'spiffe://example.org';

describe('kinds of streams', { concurrency: true }, () => {
  for (const version of ['1.40', '1.36'] as const) {
    it(`keeps state of the world and Delta apart on one connection of ${version} (E12)`, async () => {
      await using daemon = await createDaemon({ svidTtl: '15s', entries: ENTRIES });
      await daemon.start();
      const place = await findPlace(daemon.socketPath);
      const bootstrap = await readBootstrap('server', place.replacements);
      const otherPort = await addListener(bootstrap, place.port('server'));
      eachSecretConfig(bootstrap, (name, source) => {
        if (name === SERVER) source['api_type'] = 'DELTA_GRPC';
      });
      await using envoy = await startEnvoy({ bootstrap, version, name: 'server' });
      await envoy.waitLive();

      assert.equal(await envoy.stat('cluster.credence.upstream_cx_total'), 1);
      assert.equal(await envoy.stat('cluster.credence.upstream_rq_active'), 3);
      assert.deepEqual(await kindsOf(daemon, envoy), {
        [SERVER]: 'delta',
        [CLIENT]: 'sotw',
        [DOMAIN]: 'sotw',
      });
      const first = await serials(envoy);
      await eventually(
        async () => {
          const now = await serials(envoy);
          return now[SERVER] !== first[SERVER] && now[CLIENT] !== first[CLIENT];
        },
        { what: 'both are rotated', hopeless: () => daemon.died() },
      );

      // Each is withdrawn while the other goes on.
      for (const [gone, stays] of [
        [SERVER, CLIENT],
        [CLIENT, SERVER],
      ] as const) {
        const updates = await sdsStat(envoy, gone, 'update_success');
        const failures = await sdsStat(envoy, gone, 'update_failure');
        const untouched = await sdsStat(envoy, stays, 'update_failure');
        await daemon.setPolicy([entryForMe(stays)]);
        await eventually(async () => (await sdsStat(envoy, gone, 'update_failure')) > failures, {
          what: `the stream of ${gone} ends`,
        });
        assert.match(envoy.log(), refusal(gone));
        assert.equal(await sdsStat(envoy, stays, 'update_failure'), untouched);
        assert.equal(await sdsStat(envoy, DOMAIN, 'update_failure'), 0);
        await daemon.setPolicy(ENTRIES);
        await eventually(async () => (await sdsStat(envoy, gone, 'update_success')) > updates, {
          what: `${gone} is served again`,
        });
      }
      assert.equal(await envoy.stat('cluster.credence.upstream_cx_total'), 1);
      const svid = svidOf(await daemon.fetchX509(), CLIENT);
      await mtlsGet({ port: place.port('server'), server: SERVER, trust: svid.bundle, svid });
      await mtlsGet({ port: otherPort, server: CLIENT, trust: svid.bundle, svid });
    });
  }

  for (const [api, kind, version] of [
    ['GRPC', 'sotw', '1.40'],
    ['DELTA_GRPC', 'delta', '1.40'],
    ['DELTA_GRPC', 'delta', '1.36'],
  ] as const) {
    it(`serves one name to a listener and a cluster of ${version} by ${api} after one attestation (E13)`, async () => {
      await using daemon = await createDaemon({ entries: ENTRIES });
      await daemon.start();
      const place = await findPlace(daemon.socketPath);
      const bootstrap = await readBootstrap('client', place.replacements);
      // The listener of the server in the same Envoy, with another timeout: not the same to the byte.
      const { static_resources: server } = replaceScalars(
        await readBootstrap('server', place.replacements),
        new Map([['0s', '20s']]),
      );
      bootstrap.static_resources.listeners.push(named(server.listeners, 'mtls'));
      eachSecretConfig(bootstrap, (_name, source) => (source['api_type'] = api));
      await using envoy = await startEnvoy({ bootstrap, version, name: 'both' });
      await envoy.waitLive();

      assert.equal((await httpGet(place.port('client'))).status, 200);
      // server, client, and the domain twice.
      assert.equal(await envoy.stat('cluster.credence.upstream_rq_active'), 4);
      assert.equal(await envoy.stat('cluster.credence.upstream_cx_total'), 1);
      assert.equal(await daemon.metric('credence_sds_streams', new RegExp(`kind="${kind}"`)), 4);
      assert.equal(await daemon.metric('credence_sds_streams'), 4);
      assert.equal(await daemon.metric('credence_attestation_seconds_count'), 1);
      const contexts = await envoy.certs();
      const roots = contexts.flatMap((context) => context.roots.map(({ serial }) => serial));
      assert.equal(roots.length, 2);
      assert.equal(new Set(roots).size, 1);
    });
  }

  for (const api of ['GRPC', 'DELTA_GRPC']) {
    for (const scheme of ['unix:', 'unix://']) {
      it(`attests and serves google_grpc by ${scheme}/path and ${api} (E14)`, async () => {
        await using daemon = await createDaemon({ entries: ENTRIES });
        await daemon.start();
        const place = await findPlace(daemon.socketPath);
        const bootstrap = await readBootstrap('server', place.replacements);
        const { static_resources: resources } = bootstrap;
        resources.clusters = resources.clusters.filter(({ name }) => name !== 'credence');
        const target = scheme + daemon.socketPath;
        eachSecretConfig(bootstrap, (_name, source) => {
          source['api_type'] = api;
          source['grpc_services'] = [
            { google_grpc: { target_uri: target, stat_prefix: 'credence' } },
          ];
        });
        await using envoy = await startEnvoy({ bootstrap, name: 'server' });
        await envoy.waitLive();

        assert.deepEqual(await kindsOf(daemon, envoy), {
          [SERVER]: api === 'GRPC' ? 'sotw' : 'delta',
          [DOMAIN]: api === 'GRPC' ? 'sotw' : 'delta',
        });
        const svid = svidOf(await daemon.fetchX509(), CLIENT);
        const wanted = { port: place.port('server'), server: SERVER, trust: svid.bundle };
        await mtlsGet({ ...wanted, svid });
        await assert.rejects(mtlsGet(wanted));

        await daemon.setPolicy([entryForMe(CLIENT)]);
        await eventually(() => refusal(SERVER).test(envoy.log()), {
          what: 'the refusal is logged',
        });
        assert.deepEqual((await envoy.leaf(SERVER))?.uris, [SERVER]);
        assert.equal(await sdsStat(envoy, DOMAIN, 'update_failure'), 0);
      });
    }
  }
});

/** Adds a copy of the listener that shows the identity of the client instead; answers its port. */
async function addListener(bootstrap: Bootstrap, serverPort: number): Promise<number> {
  const { listeners } = bootstrap.static_resources;
  const port = await freePort();
  const replacements = new Map<string | number, string | number>([
    ['mtls', 'other'],
    [SERVER, CLIENT],
    [serverPort, port],
  ]);
  listeners.push(replaceScalars(named(listeners, 'mtls'), replacements));
  return port;
}

/** The kind of the stream of each secret of an Envoy, as the daemon sees it. */
async function kindsOf(daemon: Daemon, envoy: Envoy): Promise<Record<string, string>> {
  const { proxies } = await daemon.status();
  assert.deepEqual(
    proxies.map(({ pid }) => pid),
    [envoy.pid],
  );
  return Object.fromEntries(
    proxies.flatMap(({ streams }) =>
      streams.flatMap(({ kind, secrets }) => secrets.map(({ name }) => [name, kind])),
    ),
  );
}

async function serials(envoy: Envoy): Promise<Record<string, string | undefined>> {
  return {
    [SERVER]: (await envoy.leaf(SERVER))?.serial,
    [CLIENT]: (await envoy.leaf(CLIENT))?.serial,
  };
}

/** Envoy's line about a stream that ended with PERMISSION_DENIED and a sentence naming `name`. */
function refusal(name: string): RegExp {
  return new RegExp(`gRPC config stream to .* closed.*: 7, [^%]* ${name}\\b`);
}

function sdsStat(envoy: Envoy, uri: string, stat: string): Promise<number> {
  return envoy.stat(`sds.${uri.replace('spiffe://', 'spiffe_')}.${stat}`);
}
