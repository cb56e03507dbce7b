import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  findPlace,
  named,
  readBootstrap,
  replaceScalars,
  type Bootstrap,
  type Place,
} from '../support/bootstrap-file.ts';
import { createDaemon, entryForMe } from '../support/daemon.ts';
import { startEnvoy, type Envoy } from '../support/envoy.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-client.ts';
import { CLIENT, SERVER } from '../support/pair.ts';
import { freePort } from '../support/ports.ts';

const LATER = 'spiffe://example.org/later';
const ENTRIES = [SERVER, CLIENT].map(entryForMe);

describe('certificates on demand, upstream (E17)', { concurrency: true }, () => {
  it('shows each server the identity of the workload it calls for, whatever is pooled', async () => {
    await using daemon = await createDaemon({ entries: ENTRIES });
    await daemon.start();
    const place = await findPlace(daemon.socketPath);
    await using _server = await startServer(place);
    await using proxy = await startProxy(
      await readBootstrap('on-demand-client', place.replacements),
    );
    assert.equal(await proxy.stat(ACTIVE), 0);

    const workloads = [
      { port: place.port('asClient'), id: CLIENT },
      { port: place.port('asServer'), id: SERVER },
    ];
    // Alternating: a connection that is idle is there to be taken by the wrong one.
    for (let round = 0; round < 10; round++) {
      for (const { port, id } of workloads) assert.equal(await callerSeen(port), id);
    }
    assert.equal(await proxy.stat('cluster.server.upstream_cx_total'), 2);
    await Promise.all(
      Array.from({ length: 60 }, async (_, n) => {
        const { port, id } = workloads[n % 2] ?? assert.fail();
        assert.equal(await callerSeen(port), id);
      }),
    );
    assert.equal(await proxy.stat(ACTIVE), 2);
    const held = (await daemon.status()).proxies
      .filter(({ pid }) => pid === proxy.pid)
      .flatMap(({ streams }) => streams.flatMap(({ secrets }) => secrets.map(({ name }) => name)));
    assert.deepEqual(held.sort(), ['spiffe://example.org', CLIENT, SERVER]);
  });

  it('mixes the pools when the value is not hashable: why the bootstrap says which', async () => {
    await using daemon = await createDaemon({ entries: ENTRIES });
    await daemon.start();
    const place = await findPlace(daemon.socketPath);
    await using server = await startServer(place);
    const bootstrap = replaceScalars(
      await readBootstrap('on-demand-client', place.replacements),
      new Map([['envoy.hashable_string', 'envoy.string']]),
    );
    await using proxy = await startProxy(bootstrap);
    assert.equal(await callerSeen(place.port('asClient')), CLIENT);
    assert.equal(await callerSeen(place.port('asServer')), CLIENT);
    assert.equal(await proxy.stat(ACTIVE), 1);
    assert.equal(server.ended(), undefined);
  });

  it('refuses an identity that is not granted, at once, until it is', async () => {
    await using daemon = await createDaemon({ entries: ENTRIES });
    await daemon.start();
    const place = await findPlace(daemon.socketPath);
    await using server = await startServer(place);
    const bootstrap = await readBootstrap('on-demand-client', place.replacements);
    const later = await addWorkload(bootstrap, place.port('asClient'), LATER);
    // A listener whose filter is missing: it acts for nobody.
    const unmarked = await addWorkload(bootstrap, place.port('asClient'), undefined);
    await using proxy = await startProxy(bootstrap);

    for (const port of [later, unmarked]) {
      const startedMs = performance.now();
      assert.equal((await httpGet(port)).status, 503);
      // Not the end of the cluster's `connect_timeout`.
      assert.ok(performance.now() - startedMs < 3000);
    }
    assert.ok((await daemon.metric('credence_policy_denied_total', /no_entry/)) >= 1);
    assert.ok((await daemon.metric('credence_policy_denied_total', /unknown_name/)) >= 1);
    assert.equal(await callerSeen(place.port('asClient')), CLIENT);
    assert.equal(await proxy.stat(ACTIVE), 1);

    await daemon.setPolicy([...ENTRIES, entryForMe(LATER)]);
    await eventually(async () => (await callerSeen(later)) === LATER, {
      what: `${LATER} is granted`,
    });
    assert.equal((await httpGet(unmarked)).status, 503);
    assert.equal(server.ended(), undefined);
  });
});

const ACTIVE = 'cluster.server.on_demand_secret.cert_active';

async function startServer(place: Place): Promise<Envoy> {
  const bootstrap = await readBootstrap('server', place.replacements);
  const envoy = await startEnvoy({ bootstrap, name: 'server' });
  await envoy.waitLive();
  return envoy;
}

async function startProxy(bootstrap: Bootstrap): Promise<Envoy> {
  const envoy = await startEnvoy({ bootstrap, name: 'node proxy' });
  await envoy.waitLive();
  return envoy;
}

/** Whom the server takes for the caller. */
async function callerSeen(port: number): Promise<string | undefined> {
  const { headers } = await httpGet(port);
  return /URI=([^;]*)$/.exec(String(headers['x-forwarded-client-cert']))?.[1];
}

/** One more listener, for another workload or for none; answers its port. */
async function addWorkload(
  bootstrap: Bootstrap,
  clientPort: number,
  id: string | undefined,
): Promise<number> {
  const { listeners } = bootstrap.static_resources;
  const port = await freePort();
  const listener = replaceScalars(
    named(listeners, 'as_client'),
    new Map<string | number, string | number>([
      ['as_client', `as_${id ?? 'nobody'}`],
      [clientPort, port],
      ...(id === undefined ? [] : ([[CLIENT, id]] as const)),
    ]),
  );
  if (id === undefined) {
    const [chain] = listener['filter_chains'] as unknown as [{ filters: unknown[] }];
    chain.filters.shift();
  }
  listeners.push(listener);
  return port;
}
