import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { findPlace, readBootstrap } from '../support/bootstrap-file.ts';
import { createDaemon, entryForMe, type Daemon } from '../support/daemon.ts';
import { startEnvoy } from '../support/envoy.ts';
import { eventually } from '../support/eventually.ts';
import { CLIENT, SERVER } from '../support/pair.ts';
import { mtlsGet, svidOf } from '../support/tls-client.ts';

const DOMAIN = 'spiffe://example.org';

describe('hot restart of Envoy', () => {
  for (const version of ['1.40', '1.36'] as const) {
    it(`serves both generations of ${version}, then the new one alone (E30)`, async () => {
      await using daemon = await createDaemon({ entries: [SERVER, CLIENT].map(entryForMe) });
      await daemon.start();
      const place = await findPlace(daemon.socketPath);
      const bootstrap = await readBootstrap('server', place.replacements);
      const generation = (epoch: number) =>
        startEnvoy({
          bootstrap,
          version,
          name: `epoch ${epoch}`,
          hotRestart: {
            epoch,
            baseIdFile: join(dirname(daemon.socketPath), 'base-id'),
            parentShutdownS: 4,
          },
        });
      const svid = svidOf(await daemon.fetchX509(), CLIENT);
      const call = () =>
        mtlsGet({ port: place.port('server'), server: SERVER, trust: svid.bundle, svid });

      await using parent = await generation(0);
      await parent.waitLive();
      const old = await parent.leaf(SERVER);
      await call();
      assert.deepEqual([...(await streamsByPid(daemon))], [[parent.pid, [DOMAIN, SERVER]]]);

      await using child = await generation(1);
      await child.waitLive();
      const both = await streamsByPid(daemon);
      assert.deepEqual(new Set(both.keys()), new Set([parent.pid, child.pid]));
      for (const names of both.values()) assert.deepEqual(names, [DOMAIN, SERVER]);
      assert.equal(await daemon.metric('credence_attestation_failures_total'), 0);
      // Another process, and so another key.
      const fresh = await child.leaf(SERVER);
      assert.ok(fresh);
      assert.notEqual(fresh.serial, old?.serial);
      await call();

      await eventually(() => parent.ended(), { what: 'the parent ends' });
      await eventually(async () => !(await streamsByPid(daemon)).has(parent.pid), {
        what: 'nothing of the parent is left',
        timeoutMs: 2_000,
      });
      assert.deepEqual([...(await streamsByPid(daemon))], [[child.pid, [DOMAIN, SERVER]]]);
      assert.equal(await daemon.metric('credence_sds_streams'), 2);
      await eventually(async () => (await daemon.status()).rotation.held_svids === 1, {
        what: 'the key of the parent is dropped',
        timeoutMs: 2_000,
      });
      assert.equal((await child.leaf(SERVER))?.serial, fresh.serial);
      await call();
    });
  }
});

/** The acknowledged secrets of each connected process, sorted. */
async function streamsByPid(daemon: Daemon): Promise<ReadonlyMap<number, readonly string[]>> {
  const { proxies } = await daemon.status();
  return new Map(
    proxies.map(({ pid, streams }) => [
      pid,
      streams
        .flatMap(({ secrets }) => secrets)
        .filter(({ sent, acknowledged }) => sent !== null && sent === acknowledged)
        .map(({ name }) => name)
        .sort(),
    ]),
  );
}
