import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerHttp2Session } from 'node:http2';
import { describe, it } from 'node:test';
import {
  findPlace,
  named,
  readBootstrap,
  replaceScalars,
  type Place,
} from '../support/bootstrap-file.ts';
import { createDaemon, entryForMe, entryForUid, type Daemon } from '../support/daemon.ts';
import { startEnvoy, type Envoy } from '../support/envoy.ts';
import { eventually } from '../support/eventually.ts';
import { CLIENT, SERVER } from '../support/pair.ts';
import { freePort } from '../support/ports.ts';
import { mtlsGet, svidOf } from '../support/tls-client.ts';

const DOMAIN = 'spiffe://example.org';
const STRANGER = 'spiffe://example.org/stranger';
/** Nobody runs as this user. */
const NOBODY_UID = 4_242_424;

describe('subscriptions of a real Envoy', { concurrency: true }, () => {
  it('heals a listener that went live before the daemon was there (E23)', async () => {
    await using daemon = await createDaemon({ entries: [SERVER, CLIENT].map(entryForMe) });
    const place = await findPlace(daemon.socketPath);
    await using envoy = await startImpatient(place);
    await assertLiveWithoutCertificate(envoy, place);

    await daemon.start();
    await assertHealed(envoy, place, daemon);
  });

  it('heals a listener that went live while its name was refused (E23)', async () => {
    await using daemon = await createDaemon({ entries: [entryForMe(CLIENT)] });
    await daemon.start();
    const place = await findPlace(daemon.socketPath);
    await using envoy = await startImpatient(place);
    await assertLiveWithoutCertificate(envoy, place);
    assert.match(envoy.log(), refusal(SERVER));

    await daemon.setPolicy([SERVER, CLIENT].map(entryForMe));
    await assertHealed(envoy, place, daemon);
  });

  it('heals a listener that went live while the socket was silent (E23)', async () => {
    await using daemon = await createDaemon({ entries: [SERVER, CLIENT].map(entryForMe) });
    const place = await findPlace(daemon.socketPath);
    await using silent = await startSilentServer(daemon.socketPath);
    await using envoy = await startImpatient(place);
    await assertLiveWithoutCertificate(envoy, place);
    assert.ok(silent.streams() >= 2, 'Envoy asked and was not answered');

    await silent[Symbol.asyncDispose]();
    await daemon.start();
    await assertHealed(envoy, place, daemon);
  });

  it('refuses a foreign name in words Envoy logs, and leaves its siblings alone (E24)', async () => {
    await using daemon = await createDaemon({
      entries: [SERVER, CLIENT].map(entryForMe).concat(entryForUid(STRANGER, NOBODY_UID)),
    });
    await daemon.start();
    const place = await findPlace(daemon.socketPath);
    const bootstrap = await readBootstrap('server', new Map([...place.replacements, ['0s', '2s']]));
    const { listeners } = bootstrap.static_resources;
    const strangerPort = await freePort();
    listeners.push(
      replaceScalars(
        named(listeners, 'mtls'),
        new Map<string | number, string | number>([
          ['mtls', 'stranger'],
          [SERVER, STRANGER],
          [place.port('server'), strangerPort],
        ]),
      ),
    );
    await using envoy = await startEnvoy({ bootstrap, name: 'server' });
    await envoy.waitLive();

    await eventually(() => refusal(STRANGER).test(envoy.log()), { what: 'the refusal is logged' });
    assert.doesNotMatch(envoy.log(), refusal(SERVER));
    // Nobody else's identity, and nothing about who holds it.
    assert.equal(await envoy.leaf(STRANGER), undefined);
    assert.doesNotMatch(envoy.log(), new RegExp(String(NOBODY_UID)));
    const svid = svidOf(await daemon.fetchX509(), CLIENT);
    const wanted = { server: SERVER, trust: svid.bundle, svid };
    await assert.rejects(mtlsGet({ port: strangerPort, ...wanted }));
    await mtlsGet({ port: place.port('server'), ...wanted });

    assert.equal(await sdsStat(envoy, SERVER, 'update_failure'), 0);
    assert.equal(await sdsStat(envoy, DOMAIN, 'update_failure'), 0);
    assert.equal(await sdsStat(envoy, SERVER, 'update_success'), 1);
    assert.ok((await sdsStat(envoy, STRANGER, 'update_failure')) >= 1);
    assert.equal(await envoy.stat('cluster.credence.upstream_cx_total'), 1);
    assert.ok((await daemon.metric('credence_policy_denied_total')) >= 1);
  });
});

/** server.yaml with a first-fetch timeout of two seconds. */
async function startImpatient(place: Place): Promise<Envoy> {
  const replacements = new Map([...place.replacements, ['0s', '2s'] as const]);
  return startEnvoy({ bootstrap: await readBootstrap('server', replacements), name: 'impatient' });
}

async function assertLiveWithoutCertificate(envoy: Envoy, place: Place): Promise<void> {
  await envoy.waitLive();
  assert.equal(await sdsStat(envoy, SERVER, 'init_fetch_timeout'), 1);
  assert.equal(await envoy.leaf(SERVER), undefined);
  // The port is open, and every connection is closed at once.
  await assert.rejects(mtlsGet({ port: place.port('server'), server: SERVER, trust: '' }), {
    code: 'ECONNRESET',
  });
  const stats = await envoy.stats(/server_ssl_socket_factory\.downstream_context_secrets_not_rea/);
  assert.ok([...stats.values()].some((count) => count >= 1));
}

async function assertHealed(envoy: Envoy, place: Place, daemon: Daemon): Promise<void> {
  await eventually(() => envoy.leaf(SERVER), { what: 'the late certificate is used' });
  const svid = svidOf(await daemon.fetchX509(), CLIENT);
  await mtlsGet({ port: place.port('server'), server: SERVER, trust: svid.bundle, svid });
}

/** Envoy's line about a stream that ended with PERMISSION_DENIED and a sentence naming `name`. */
function refusal(name: string): RegExp {
  return new RegExp(`gRPC config stream to credence closed.*: 7, [^%]* ?${name}\\b`);
}

function sdsStat(envoy: Envoy, uri: string, stat: string): Promise<number> {
  return envoy.stat(`sds.${uri.replace('spiffe://', 'spiffe_')}.${stat}`);
}

/** HTTP/2 on a socket that takes every request and answers none. */
async function startSilentServer(
  socketPath: string,
): Promise<AsyncDisposable & { streams(): number }> {
  const server = createServer();
  const sessions = new Set<ServerHttp2Session>();
  let streams = 0;
  server.on('session', (session) => {
    sessions.add(session);
    session.on('error', () => undefined);
  });
  server.on('stream', (stream) => {
    streams++;
    stream.on('error', () => undefined);
    stream.resume();
  });
  server.listen(socketPath);
  await once(server, 'listening');
  return {
    streams: () => streams,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const session of sessions) session.destroy();
      }),
  };
}
