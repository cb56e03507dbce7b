import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { IdentityError } from '../../src/core/errors.ts';
import type { Issuer } from '../../src/issuer/issuer.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { eachSecretConfig, findPlace } from '../support/bootstrap-file.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-client.ts';
import { CLIENT, SERVER, startPair, startWatchedLoad, type WatchedLoad } from '../support/pair.ts';

const DUE = 'credence_rotation_due_svids';
const FAILED = 'credence_issuer_x509_svids_total{result="error"}';

describe('an outage of signing', { concurrency: true }, () => {
  for (const api of ['GRPC', 'DELTA_GRPC'] as const) {
    it(`leaves what is valid in use, is seen, and heals by itself, by ${api} (E21)`, async (t) => {
      const { outage, decorateIssuer } = fragile();
      await using app = await startApp({
        entries: [SERVER, CLIENT].map((spiffe_id) => ({ spiffe_id })),
        settings: { issuer: { x509_svid_ttl: '8s' }, sds: { pending_timeout: '500ms' } },
        deps: { decorateIssuer },
      });
      await using pair = await startPair(await findPlace(app.socketPath), {
        // What Envoy hears of an outage it says at this level only.
        logLevels: 'config:debug',
        adapt: (bootstrap) => {
          eachSecretConfig(bootstrap, (_name, source) => (source['api_type'] = api));
        },
      });
      await using load = startWatchedLoad(pair);

      // From before the renewal point until well past it.
      outage.on = true;
      await load.look();
      await eventually(async () => (await metric(app, DUE)) === 2, {
        what: 'both SVIDs are past their renewal point',
        hopeless: () => load.expired(),
      });
      const failed = await metric(app, FAILED);
      await eventually(async () => (await metric(app, FAILED)) >= failed + 2, {
        what: 'they are tried again',
        hopeless: () => load.expired(),
      });
      assert.equal((await app.status()).rotation.due_svids, 2);
      assert.ok(app.log.count('info', 'renewal failed, the old one is still valid') >= 2);
      await load.look();
      assert.deepEqual(lives(load), [1, 1]);
      for (const envoy of [pair.server, pair.client]) assert.doesNotMatch(envoy.log(), CLOSED);

      outage.on = false;
      await eventually(() => load.look().then(() => lives(load).every((count) => count > 1)), {
        what: 'both ends get new certificates',
        hopeless: () => load.expired(),
      });
      assert.equal(await metric(app, DUE), 0);
      const { sent, failures } = await load.stop();
      t.diagnostic(`${sent} requests, ${failures.length} failed`);
      assert.deepEqual(failures, []);

      // This one outlasts the certificates: nothing is made up in their place.
      outage.on = true;
      await eventually(() => [pair.server, pair.client].every((envoy) => SAID.test(envoy.log())), {
        what: 'both streams end with a reason',
        timeoutMs: 20_000,
      });
      assert.ok(app.log.count('warn', 'the workload has no valid SVID') >= 2);
      assert.equal((await httpGet(pair.freshPort)).status, 503);

      outage.on = false;
      await eventually(async () => (await httpGet(pair.freshPort)).status === 200, {
        what: 'new connections are made again',
        timeoutMs: 20_000,
      });
      for (const [envoy, uri] of [
        [pair.server, SERVER],
        [pair.client, CLIENT],
      ] as const) {
        assert.ok(((await envoy.leaf(uri))?.expiresMs ?? 0) > Date.now());
        const rejected = await envoy.stats(/^sds\..*\.update_rejected$/);
        assert.deepEqual(new Set(rejected.values()), new Set([0]));
      }
      assert.equal(await metric(app, DUE), 0);
    });
  }
});

const CLOSED = /gRPC config stream to credence closed/;
const SAID = /gRPC config stream to credence closed: 14, spiffe:\S+ could not be signed yet/;

/** An issuer that cannot sign while the outage is on. */
function fragile(): {
  readonly outage: { on: boolean };
  readonly decorateIssuer: (issuer: Issuer) => Issuer;
} {
  const outage = { on: false };
  const decorateIssuer = (issuer: Issuer): Issuer => ({
    ...issuer,
    mint: (request, options) =>
      outage.on
        ? Promise.reject(new IdentityError('ERR_ISSUER', 'the CA does not answer'))
        : issuer.mint(request, options),
  });
  return { outage, decorateIssuer };
}

/** How many certificates each end has used so far. */
function lives(load: WatchedLoad): readonly number[] {
  return [...load.serials.values()].map((serials) => serials.length);
}

async function metric(app: TestApp, name: string): Promise<number> {
  const line = (await app.get('/metrics')).split('\n').find((text) => text.startsWith(`${name} `));
  return Number(line?.slice(name.length));
}
