import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  findPlace,
  named,
  readBootstrap,
  type Json,
  type JsonObject,
} from '../support/bootstrap-file.ts';
import { createDaemon, entryForMe, type Daemon, type FetchedSvid } from '../support/daemon.ts';
import { startEnvoy } from '../support/envoy.ts';
import { CLIENT, SERVER } from '../support/pair.ts';
import { mtlsGet, svidOf } from '../support/tls-client.ts';

const ENTRIES = [SERVER, CLIENT].map(entryForMe);

interface Form {
  /** Of the node; undefined for none. */
  readonly asks: Json | undefined;
  readonly gets: 'trusted_ca' | 'spiffe';
}

for (const [setting, forms] of [
  [
    true,
    [
      { asks: undefined, gets: 'spiffe' },
      { asks: true, gets: 'trusted_ca' },
      { asks: 'true', gets: 'trusted_ca' },
      { asks: false, gets: 'spiffe' },
    ],
  ],
  [
    false,
    [
      { asks: undefined, gets: 'trusted_ca' },
      { asks: false, gets: 'spiffe' },
      { asks: 'false', gets: 'spiffe' },
    ],
  ],
] as const satisfies readonly (readonly [boolean, readonly Form[]])[]) {
  describe(`an optional client certificate, spiffe_cert_validation ${setting} (E4)`, () => {
    let daemon: Daemon;
    let mine: FetchedSvid;
    let foreign: FetchedSvid;
    before(async () => {
      daemon = await createDaemon({
        entries: ENTRIES,
        settings: { sds: { spiffe_cert_validation: setting } },
      });
      await daemon.start();
      mine = svidOf(await daemon.fetchX509(), CLIENT);
      // The same names under another root.
      await using impostor = await createDaemon({ entries: ENTRIES });
      await impostor.start();
      foreign = svidOf(await impostor.fetchX509(), CLIENT);
    });
    after(() => daemon[Symbol.asyncDispose]());

    for (const version of ['1.40', '1.36'] as const) {
      for (const { asks, gets } of forms) {
        const without = gets === 'spiffe' ? 'refuses' : 'lets in';
        const title = `${without} who shows none when a ${version} asks for ${JSON.stringify(asks)}`;
        it(title, async () => {
          const place = await findPlace(daemon.socketPath);
          const bootstrap = await readBootstrap('server', place.replacements);
          if (asks !== undefined) {
            const node = bootstrap['node'] as JsonObject;
            node['metadata'] = { disable_spiffe_cert_validation: asks };
          }
          const [chain] = named(bootstrap.static_resources.listeners, 'mtls')[
            'filter_chains'
          ] as unknown as [{ transport_socket: { typed_config: JsonObject } }];
          chain.transport_socket.typed_config['require_client_certificate'] = false;
          await using envoy = await startEnvoy({ bootstrap, version, name: 'server' });
          await envoy.waitLive();

          const secrets = await envoy.admin('/config_dump?resource=dynamic_active_secrets');
          assert.equal(secrets.includes('"trusted_ca"'), gets === 'trusted_ca');
          assert.equal(secrets.includes('envoy.tls.cert_validator.spiffe'), gets === 'spiffe');
          assert.equal((await envoy.certs()).flatMap(({ roots }) => roots).length, 1);

          const wanted = { port: place.port('server'), server: SERVER, trust: mine.bundle };
          const known = await mtlsGet({ ...wanted, svid: mine });
          assert.match(String(known['x-forwarded-client-cert']), new RegExp(`URI=${CLIENT}$`));
          await assert.rejects(mtlsGet({ ...wanted, svid: foreign }));
          if (gets === 'spiffe') {
            // Up to 1.40 the validator makes it mandatory, whatever the listener says.
            await assert.rejects(mtlsGet(wanted));
          } else {
            const anonymous = await mtlsGet(wanted);
            assert.doesNotMatch(String(anonymous['x-forwarded-client-cert']), /URI=/);
          }

          const stats = await envoy.stats(/^listener\..*_\d+\.ssl\.(fail_verify|no_cert|handsh)/);
          const sum = (suffix: string) =>
            [...stats].reduce((all, [name, n]) => all + (name.endsWith(suffix) ? n : 0), 0);
          assert.equal(sum('.fail_verify_error'), 1);
          assert.equal(sum('.fail_verify_no_cert'), gets === 'spiffe' ? 1 : 0);
          assert.equal(sum('.no_certificate'), gets === 'spiffe' ? 0 : 1);
        });
      }
    }
  });
}
