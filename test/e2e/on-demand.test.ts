import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Issuer } from '../../src/issuer/issuer.ts';
import { startApp } from '../support/app.ts';
import { findPlace, readBootstrap, type Place } from '../support/bootstrap-file.ts';
import {
  createDaemon,
  entryForMe,
  fetchX509,
  type Daemon,
  type FetchedSvid,
} from '../support/daemon.ts';
import { startEnvoy } from '../support/envoy.ts';
import { eventually } from '../support/eventually.ts';
import { onDemand, startOnDemand } from '../support/on-demand.ts';
import { CLIENT, SERVER } from '../support/pair.ts';
import { mtlsGet, svidOf } from '../support/tls-client.ts';

const LATER = 'spiffe://example.org/later';
const ENTRIES = [SERVER, CLIENT].map(entryForMe);
/** The handshake alert of Envoy, not the end of its patience (`transport_socket_connect_timeout`). */
const REFUSED = /alert handshake failure/;

describe('certificates on demand, downstream (E16)', { concurrency: true }, () => {
  it('holds a handshake until its certificate is there', async (t) => {
    let sign = () => {};
    const mayBeSigned = new Promise<void>((resolve) => (sign = resolve));
    const decorateIssuer = (issuer: Issuer): Issuer => ({
      ...issuer,
      async mint(request, options) {
        if (request.id === LATER) await mayBeSigned;
        return issuer.mint(request, options);
      },
    });
    const entries = [SERVER, CLIENT, LATER].map((spiffe_id) => ({ spiffe_id }));
    await using app = await startApp({ entries: entries.slice(0, 2), deps: { decorateIssuer } });
    const out = await mkdtemp(join(tmpdir(), 'credence-fetched-'));
    t.after(() => rm(out, { recursive: true }));
    const svid = svidOf(await fetchX509(app.socketPath, join(out, 'x509')), CLIENT);
    await app.setPolicy(entries);
    const place = await findPlace(app.socketPath);
    await using envoy = await startOnDemand(place);

    let answered = false;
    const waiting = get(place, { server: LATER, sni: LATER, svid }).finally(() => {
      answered = true;
    });
    await eventually(async () => (await onDemand(envoy, 'cert_requested')) === 2, {
      what: 'the certificate is asked for',
    });
    await eventually(
      async () => (await app.status()).proxies.some(({ streams }) => streams.some(awaits(LATER))),
      { what: 'the stream waits for its signature' },
    );
    // Others are served meanwhile.
    await get(place, { server: SERVER, svid });
    assert.equal(answered, false);
    sign();
    await waiting;
    // The one that was asked for at the start, for this listener and for the other.
    assert.equal(await onDemand(envoy, 'cert_active'), 3);
  });

  it('gives a DNS name its identity, and hears of no name that has none', async () => {
    await using daemon = await createDaemon({ entries: ENTRIES });
    await daemon.start();
    const place = await findPlace(daemon.socketPath);
    await using envoy = await startOnDemand(place);
    const svid = svidOf(await daemon.fetchX509(), CLIENT);
    const wanted = { port: place.port('byName'), server: SERVER, trust: svid.bundle };

    // Before anybody connects: it was asked for at the start.
    assert.equal(await onDemand(envoy, 'cert_active'), 1);
    const headers = await mtlsGet({ ...wanted, svid, serverName: 'server.example.org' });
    assert.match(String(headers['x-forwarded-client-cert']), new RegExp(`URI=${CLIENT}$`));
    await assert.rejects(mtlsGet({ ...wanted, serverName: 'server.example.org' }));

    const asked = await envoy.stat('cluster.credence.upstream_rq_total');
    for (const serverName of ['else.example.org', LATER, 'ROOTCA']) {
      await assert.rejects(mtlsGet({ ...wanted, svid, serverName }), /ECONNRESET/);
    }
    await assert.rejects(mtlsGet({ ...wanted, svid }), /ECONNRESET/);
    assert.equal(await envoy.stat('cluster.credence.upstream_rq_total'), asked);
    assert.equal(await daemon.metric('credence_policy_denied_total'), 0);
  });

  it('shows whom a caller names, refuses anybody else at once, and a later grant works', async () => {
    await using daemon = await createDaemon({ entries: ENTRIES });
    await daemon.start();
    const place = await findPlace(daemon.socketPath);
    await using envoy = await startOnDemand(place);
    const svid = svidOf(await daemon.fetchX509(), CLIENT);

    await get(place, { server: SERVER, svid });
    await get(place, { server: CLIENT, sni: CLIENT, svid });
    await get(place, { server: CLIENT, sni: CLIENT, svid });
    // server for each of the listeners, and client: asked for once, whoever comes after.
    assert.equal(await onDemand(envoy, 'cert_active'), 3);
    assert.equal(await onDemand(envoy, 'cert_requested'), 3);
    const streams = await daemon.metric('credence_sds_streams', /delta/);

    const strange = [LATER, 'web.example', 'SPIFFE://example.org/server', 'a'.repeat(255)];
    for (const sni of strange)
      await assert.rejects(get(place, { server: sni, sni, svid }), REFUSED);
    for (let n = 0; n < 5; n++) {
      await assert.rejects(get(place, { server: LATER, sni: LATER, svid }), REFUSED);
    }
    assert.equal(await daemon.metric('credence_policy_denied_total', /no_entry/), 6);
    assert.equal(await daemon.metric('credence_policy_denied_total', /unknown_name/), 3);
    assert.equal(refusalsLogged(daemon, LATER), 1);
    assert.equal(await onDemand(envoy, 'cert_active'), 3);
    await eventually(
      async () => (await daemon.metric('credence_sds_streams', /delta/)) === streams,
      { what: 'no stream of a refused name is left' },
    );

    await daemon.setPolicy([...ENTRIES, entryForMe(LATER)]);
    await eventually(() => get(place, { server: LATER, sni: LATER, svid }), {
      what: 'the identity is granted',
    });
    await daemon.setPolicy(ENTRIES);
    await eventually(() => refusalsLogged(daemon, LATER) === 2, { what: 'it is withdrawn, aloud' });
    await assert.rejects(get(place, { server: LATER, sni: LATER, svid }), REFUSED);
    await get(place, { server: CLIENT, sni: CLIENT, svid });
  });

  it('keeps a caller that names no certificate waiting, and nobody else', async () => {
    await using daemon = await createDaemon({ entries: ENTRIES });
    await daemon.start();
    const place = await findPlace(daemon.socketPath);
    await using envoy = await startOnDemand(place);
    const svid = svidOf(await daemon.fetchX509(), CLIENT);

    // A secret of another kind: Envoy refuses it, and the end is that of its own patience.
    const startedMs = performance.now();
    const hanging = assert.rejects(get(place, { server: SERVER, sni: 'ROOTCA', svid }), (error) => {
      return !REFUSED.test(String(error));
    });
    await eventually(async () => (await daemon.metric(PUSHES, /nack/)) === 1, {
      what: 'Envoy refuses the secret',
    });
    await get(place, { server: CLIENT, sni: CLIENT, svid });
    await hanging;
    assert.ok(performance.now() - startedMs < 8000);
    assert.equal(await onDemand(envoy, 'cert_active'), 3);
  });

  it('renews what is in use, without a handshake that fails', async () => {
    await using daemon = await createDaemon({ entries: ENTRIES, svidTtl: '15s' });
    await daemon.start();
    const place = await findPlace(daemon.socketPath);
    await using envoy = await startOnDemand(place);
    const svid = svidOf(await daemon.fetchX509(), CLIENT);
    await get(place, { server: SERVER, svid });
    const expiry = async () => Math.min(...(await envoy.stats(EXPIRY)).values());
    const first = await expiry();
    assert.ok(first > Date.now() / 1000 && first <= Date.now() / 1000 + 16, `${first}`);
    await eventually(
      async () => {
        await get(place, { server: SERVER, svid });
        return (await expiry()) > first;
      },
      { what: 'the certificate is replaced', hopeless: () => daemon.died() },
    );
  });

  for (const [what, limits] of [
    ['answers', {}],
    // Far below what the flood asks for: Envoy repeats what was turned away.
    ['limits', { limits: { requests_per_second: 40 } }],
  ] as const) {
    it(`${what} a flood of names, and another proxy does not notice`, async () => {
      await using daemon = await createDaemon({ entries: ENTRIES, settings: limits });
      await daemon.start();
      const place = await findPlace(daemon.socketPath);
      await using envoy = await startOnDemand(place);
      const svid = svidOf(await daemon.fetchX509(), CLIENT);
      const before = await daemon.metric('credence_sds_streams');
      const flood = Array.from({ length: 300 }, (_, n) =>
        assert.rejects(get(place, { server: SERVER, sni: `n${n}.example`, svid })),
      );

      await using other = await startEnvoy({
        bootstrap: await readBootstrap('server', place.replacements),
        name: 'other',
      });
      await other.waitLive(5000);
      await mtlsGet({ port: place.port('server'), server: SERVER, trust: svid.bundle, svid });
      assert.equal(await other.stat('sds.spiffe_example.org/server.update_failure'), 0);
      await Promise.all(flood);

      const limited = await daemon.metric('credence_sds_limited_total', /requests/);
      assert.equal(limited > 0, what === 'limits', `${limited} were over the limit`);
      await eventually(async () => (await onDemand(envoy, 'cert_active')) === 1, {
        what: 'Envoy has dropped what nobody asks for any more',
        timeoutMs: 30_000,
      });
      // The two of the other proxy are left.
      assert.equal(await daemon.metric('credence_sds_streams'), before + 2);
      const { rotation } = await daemon.status();
      assert.ok(rotation.held_svids <= 3, `${rotation.held_svids} SVIDs are held`);
      const lines = daemon.log().match(/"level":"info".*secret refused/g)?.length ?? 0;
      assert.ok(lines > 0 && lines < 40, `${lines} lines`);
      await get(place, { server: SERVER, svid });
    });
  }
});

const PUSHES = 'credence_sds_pushes_total';
const EXPIRY = /on_demand_secret\.ssl\.certificate\.spiffe:\/\/example\.org\/server\.expiration/;

interface Wanted {
  readonly server: string;
  /** No name when left out. */
  readonly sni?: string;
  readonly svid: FetchedSvid;
}

function get(place: Place, { server, sni, svid }: Wanted) {
  return mtlsGet({
    ...{ port: place.port('bySni'), server, trust: svid.bundle, svid },
    ...(sni === undefined ? {} : { serverName: sni }),
  });
}

function awaits(name: string) {
  return ({ waiting }: { waiting: readonly string[] }) =>
    waiting.some((reason) => reason.includes(name));
}

/** Refusals of a name that the daemon wrote a line about. */
function refusalsLogged(daemon: Daemon, name: string): number {
  return daemon
    .log()
    .split('\n')
    .filter((line) => line.includes('"level":"info"') && line.includes('secret refused'))
    .filter((line) => line.includes(`"${name}"`)).length;
}
