import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  findPlace,
  named,
  readBootstrap,
  replaceScalars,
  type JsonObject,
} from '../support/bootstrap-file.ts';
import { createDaemon, entryForMe } from '../support/daemon.ts';
import { startEnvoy } from '../support/envoy.ts';
import { eventually } from '../support/eventually.ts';
import { CLIENT, SERVER } from '../support/pair.ts';
import { mtlsGet, svidOf } from '../support/tls-client.ts';

const SECRETS = 1_500;
const IDS = Array.from({ length: SECRETS }, (_, n) => `${SERVER}/${n}`);
/** Envoy opens no more streams than this on one connection. */
const STREAMS_PER_CONNECTION = 1_024;

describe('many secrets', () => {
  it(`serves ${SECRETS} to one Envoy, over as many connections as it takes (E29)`, async (t) => {
    await using daemon = await createDaemon({ entries: [entryForMe(CLIENT)] });
    await daemon.start();
    const svid = svidOf(await daemon.fetchX509(), CLIENT);
    await daemon.setPolicy([...IDS, CLIENT].map(entryForMe));
    await eventually(async () => (await daemon.status()).policy.entries === SECRETS + 1, {
      what: 'the policy is read',
    });
    const attested = await daemon.metric('credence_attestation_seconds_count');
    const place = await findPlace(daemon.socketPath);
    const bootstrap = await readBootstrap('server', place.replacements);
    const listener = named(bootstrap.static_resources.listeners, 'mtls');
    const [chain] = listener['filter_chains'] as JsonObject[];
    // One filter chain for each identity; the caller chooses one by the server name it asks for.
    listener['listener_filters'] = [TLS_INSPECTOR];
    listener['filter_chains'] = IDS.map((id, n) => ({
      ...replaceScalars(chain ?? {}, new Map([[SERVER, id]])),
      name: `${n}`,
      filter_chain_match: { server_names: [`${n}.example`] },
    }));
    const started = performance.now();
    await using envoy = await startEnvoy({ bootstrap, name: 'server' });
    await envoy.waitLive(45_000);
    t.diagnostic(`live after ${((performance.now() - started) / 1000).toFixed(1)} s`);

    const served = (await envoy.certs()).flatMap(({ chain: certs }) => certs);
    assert.deepEqual(new Set(served.flatMap(({ uris }) => uris)), new Set(IDS));
    assert.equal(new Set(served.map(({ serial }) => serial)).size, SECRETS);
    // One more for the roots, which all chains share.
    const streams = SECRETS + 1;
    assert.equal(await envoy.stat('cluster.credence.upstream_rq_active'), streams);
    assert.equal(await envoy.stat('cluster.credence.upstream_rq_pending_overflow'), 0);
    assert.equal(
      await envoy.stat('cluster.credence.upstream_cx_active'),
      Math.ceil(streams / STREAMS_PER_CONNECTION),
    );
    const updates = await envoy.stats(/^sds\..*\.update_success$/);
    assert.equal(updates.size, streams);
    assert.deepEqual(new Set(updates.values()), new Set([1]));

    // All connections are those of one process, attested once.
    const { proxies, rotation } = await daemon.status();
    assert.deepEqual(
      proxies.map(({ pid, streams: open }) => [pid, open.length]),
      [
        [envoy.pid, STREAMS_PER_CONNECTION],
        [envoy.pid, streams - STREAMS_PER_CONNECTION],
      ],
    );
    assert.equal(rotation.held_svids, SECRETS);
    assert.equal(await daemon.metric('credence_attestation_seconds_count'), attested + 1);

    // The last is as usable as the first.
    await daemon.setPolicy([...IDS.slice(1), CLIENT].map(entryForMe));
    const failures = () => envoy.stats(/^sds\..*\.update_failure$/);
    const withdrawn = 'sds.spiffe_example.org/server/0.update_failure';
    await eventually(async () => ((await failures()).get(withdrawn) ?? 0) > 0, {
      what: 'one of them is withdrawn',
    });
    const alsoFailed = [...(await failures())].filter(([name, n]) => n > 0 && name !== withdrawn);
    assert.deepEqual(alsoFailed, []);
    const port = place.port('server');
    for (const n of [0, 1, SECRETS - 1]) {
      const server = `${SERVER}/${n}`;
      await mtlsGet({ port, server, trust: svid.bundle, svid, serverName: `${n}.example` });
    }
  });
});

const TLS_INSPECTOR: JsonObject = {
  name: 'envoy.filters.listener.tls_inspector',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector',
  },
};
