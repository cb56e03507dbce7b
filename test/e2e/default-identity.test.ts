import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findPlace, readBootstrap } from '../support/bootstrap-file.ts';
import { createDaemon, entryForMe, type Daemon } from '../support/daemon.ts';
import { startEnvoy, type Envoy } from '../support/envoy.ts';
import { eventually } from '../support/eventually.ts';
import { CLIENT, SERVER } from '../support/pair.ts';
import { mtlsGet, svidOf } from '../support/tls-client.ts';

const DOMAIN = 'spiffe://example.org';
const [APPLE, MELON, ZEBRA] = ['apple', 'melon', 'zebra'].map((name) => `${DOMAIN}/${name}`) as [
  string,
  string,
  string,
];

describe('a process with several identities', { concurrency: true }, () => {
  for (const api of ['GRPC', 'DELTA_GRPC'] as const) {
    it(`gets the first of them as default, whichever that is now, by ${api} (E33)`, async () => {
      // Neither the order of the document nor that of the names alone decides.
      const entries = [
        { ...entryForMe(ZEBRA), priority: 5 },
        { ...entryForMe(APPLE), priority: -1 },
        { ...entryForMe(MELON), priority: 5 },
        entryForMe(CLIENT),
      ];
      await using daemon = await createDaemon({ entries });
      await daemon.start();
      const place = await findPlace(daemon.socketPath);
      const bootstrap = await readBootstrap(
        'server',
        new Map([...place.replacements, [SERVER, 'default'], ['GRPC', api]]),
      );
      await using envoy = await startEnvoy({ bootstrap, name: 'server' });
      await envoy.waitLive();

      await assertServes(MELON, envoy, daemon);
      const svid = svidOf(await daemon.fetchX509(), CLIENT);
      const call = (server: string) =>
        mtlsGet({ port: place.port('server'), server, trust: svid.bundle, svid });
      await call(MELON);
      const melon = await envoy.leaf(MELON);

      // A change that leaves the first where it is sends nothing.
      const updates = await envoy.stat('sds.default.update_success');
      await daemon.setPolicy([...entries].reverse());
      await daemon.setPolicy([...entries, entryForMe(SERVER)]);
      await eventually(async () => (await daemon.status()).policy.entries === entries.length + 1, {
        what: 'the policy is read',
      });
      assert.equal((await envoy.leaf(MELON))?.serial, melon?.serial);

      for (const [first, changed] of [
        [APPLE, [{ ...entryForMe(APPLE), priority: 6 }, ...entries.slice(2)]],
        [CLIENT, [entryForMe(ZEBRA), entryForMe(MELON), entryForMe(CLIENT)]],
        [ZEBRA, [{ ...entryForMe(ZEBRA), priority: 1 }, ...[MELON, CLIENT].map(entryForMe)]],
      ] as const) {
        await daemon.setPolicy(changed);
        await eventually(async () => (await envoy.leaf(first)) !== undefined, {
          what: `${first} is served`,
          timeoutMs: 3_000,
        });
        await assertServes(first, envoy, daemon);
        await call(first);
      }
      assert.equal(await envoy.stat('sds.default.update_success'), updates + 3);
      assert.equal(await envoy.stat('sds.default.update_failure'), 0);
      assert.equal(await envoy.stat('sds.default.update_rejected'), 0);
    });
  }
});

/** Envoy shows this identity and no other, and the daemon says that it is the one. */
async function assertServes(id: string, envoy: Envoy, daemon: Daemon): Promise<void> {
  const served = (await envoy.certs()).flatMap(({ chain }) => chain);
  assert.deepEqual(
    served.map(({ uris }) => uris),
    [[id]],
  );
  const explained = JSON.parse(await daemon.admin(`/explain?pid=${envoy.pid}`)) as {
    readonly identities: readonly { readonly spiffe_id: string; readonly default: boolean }[];
  };
  assert.deepEqual(
    explained.identities.filter((identity) => identity.default).map(({ spiffe_id: uri }) => uri),
    [id],
  );
  await eventually(
    async () => {
      const { proxies } = await daemon.status();
      const secrets = proxies.flatMap(({ streams }) => streams.flatMap((stream) => stream.secrets));
      const shown = secrets.find(({ name }) => name === 'default');
      assert.equal(shown?.spiffe_id, id);
      assert.equal(shown.serial, served[0]?.serial);
      return shown.acknowledged === shown.sent;
    },
    { what: 'the status says which it is', timeoutMs: 2_000 },
  );
}
