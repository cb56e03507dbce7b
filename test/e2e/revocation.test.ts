import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, it } from 'node:test';
import { findPlace, type JsonObject } from '../support/bootstrap-file.ts';
import { createDaemon, entryForMe } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { CLIENT, SERVER, startPair, startWatchedLoad, type Pair } from '../support/pair.ts';
import { mtlsGet, svidOf } from '../support/tls-client.ts';

const OTHER = 'spiffe://example.org/other';
const ENTRIES = [SERVER, CLIENT, OTHER].map(entryForMe);
const serialOf = (pem: string) => new X509Certificate(pem).serialNumber;

for (const version of ['1.40', '1.36'] as const) {
  for (const form of ['spiffe', 'plain'] as const) {
    describe(`revoked SVIDs and Envoy ${version}, ${form} form (E25)`, () => {
      const startIt = async (socketPath: string) =>
        startPair(await findPlace(socketPath), {
          version,
          adapt(bootstrap) {
            const node = bootstrap['node'] as JsonObject;
            node['metadata'] = { disable_spiffe_cert_validation: form === 'plain' };
          },
        });

      it('are refused, others pass under load, and a new one of the same identity does', async (t) => {
        await using daemon = await createDaemon({ entries: ENTRIES });
        await daemon.start();
        await using pair = await startIt(daemon.socketPath);
        const svids = await daemon.fetchX509();
        const [stolen, other] = [svidOf(svids, CLIENT), svidOf(svids, OTHER)];
        const asking = { port: pair.serverPort, server: SERVER, trust: stolen.bundle };
        const by = (svid: typeof stolen) => mtlsGet({ ...asking, svid });
        await by(stolen);
        await using load = startWatchedLoad(pair);
        await load.look();

        const said = await daemon.command('revoke', '--serial', serialOf(stolen.cert));
        assert.match(
          said,
          /^revoked [0-9a-f]{32} of spiffe:\/\/example.org\/client, which ends at /m,
        );
        await isRefused(() => by(stolen));
        await by(other);
        const anew = svidOf(await daemon.fetchX509(), CLIENT);
        await by(anew);
        assert.match(anew.bundle, /BEGIN X509 CRL/);
        // It is no more than a root to whoever does not know of CRLs.
        assert.ok(anew.bundle.startsWith(stolen.bundle));

        const sent = load.count().sent;
        await eventually(() => load.count().sent > sent + 150, { what: 'load goes on' });
        const count = await load.stop();
        t.diagnostic(`${count.sent} requests, ${count.failures.length} failed`);
        assert.deepEqual(count.failures, []);
        await load.look();
        assert.deepEqual(
          [...load.serials.values()].map(({ length }) => length),
          [1, 1],
        );
        await noneRejected(pair);

        // The daemon that comes back knows of it before it hands out a bundle.
        await daemon.stop('SIGKILL');
        await daemon.start();
        await assert.rejects(by(stolen));
        await by(svidOf(await daemon.fetchX509(), CLIENT));
        assert.match(await daemon.command('bundle', 'show'), /BEGIN X509 CRL/);
        await assert.rejects(by(stolen));
      });

      it('in use are replaced at once, at both ends', async (t) => {
        await using daemon = await createDaemon({ entries: ENTRIES });
        await daemon.start();
        await using pair = await startIt(daemon.socketPath);
        const trust = svidOf(await daemon.fetchX509(), CLIENT);
        await using load = startWatchedLoad(pair);
        await load.look();
        for (const id of [CLIENT, SERVER]) {
          const before = load.serials.get(id)?.length ?? 0;
          await daemon.command('revoke', '--spiffe-id', id, '--reason', 'keyCompromise');
          await eventually(
            async () => {
              await load.look();
              return (load.serials.get(id)?.length ?? 0) > before;
            },
            { what: `${id} is replaced`, timeoutMs: 5000 },
          );
        }
        const last = load.serials.get(CLIENT)?.at(-1) ?? '';
        await eventually(() => load.seenByServer.has(last), { what: 'the new one is used' });
        const count = await load.stop();
        t.diagnostic(`${count.sent} requests, ${count.failures.length} failed`);
        await isRefused(() =>
          mtlsGet({ port: pair.serverPort, server: SERVER, trust: trust.bundle, svid: trust }),
        );
        await noneRejected(pair);
      });
    });
  }
}

function isRefused(ask: () => Promise<unknown>): Promise<unknown> {
  const refused = () =>
    ask().then(
      () => false,
      () => true,
    );
  return eventually(refused, { what: 'it is refused', timeoutMs: 5000 });
}

async function noneRejected({ server, client }: Pair): Promise<void> {
  for (const envoy of [server, client]) {
    for (const [name, count] of await envoy.stats(/^sds\..*\.update_rejected$/)) {
      assert.equal(count, 0, name);
    }
  }
}
