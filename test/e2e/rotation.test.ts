import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, it } from 'node:test';
import { findPlace, readBootstrap } from '../support/bootstrap-file.ts';
import { createDaemon, entryForMe } from '../support/daemon.ts';
import { startEchoServer } from '../support/echo-server.ts';
import { startEnvoy, type Envoy } from '../support/envoy.ts';
import { eventually } from '../support/eventually.ts';
import { CLIENT, SERVER, startPair, startWatchedLoad, type Pair } from '../support/pair.ts';
import { mtlsGet, svidOf, tcpConnect } from '../support/tls-client.ts';

const ENTRIES = [SERVER, CLIENT].map(entryForMe);
const ROTATIONS = 3;

// They wait for real certificates to age, and so they wait beside each other.
describe('rotation and restart under load', { concurrency: true }, () => {
  it(`rotates ${ROTATIONS} times at half-life without one failed request (E19)`, async (t) => {
    await using daemon = await createDaemon({ svidTtl: '20s', entries: ENTRIES });
    await daemon.start();
    await using pair = await startPair(await findPlace(daemon.socketPath));
    const roots = await rootsOf(pair);
    await using load = startWatchedLoad(pair);
    const rotatedAt = new Map<string, number[]>();

    await eventually(
      async () => {
        await load.look();
        for (const [uri, serials] of load.serials) {
          const times = rotatedAt.get(uri) ?? [];
          if (serials.length > times.length) rotatedAt.set(uri, [...times, performance.now()]);
        }
        return [...load.serials.values()].every((serials) => serials.length > ROTATIONS);
      },
      {
        what: `both ends rotate ${ROTATIONS} times`,
        timeoutMs: 60_000,
        hopeless: () => load.expired() ?? daemon.died(),
      },
    );
    const { sent, answered, failures } = await load.stop();

    t.diagnostic(`${sent} requests, ${failures.length} failed`);
    assert.deepEqual(failures, []);
    assert.equal(answered, sent);
    assert.ok(sent > 3_000, `only ${sent} requests were sent`);
    for (const [uri, times] of rotatedAt) {
      // Half of 20 s, a tenth either way, and what looking and a busy machine take.
      const gaps = times.slice(2).map((time, n) => (time - (times[n + 1] ?? 0)) / 1000);
      t.diagnostic(`${uri}: ${gaps.map((gap) => gap.toFixed(1)).join(', ')} s apart`);
      for (const gap of gaps) assert.ok(gap > 7 && gap < 14, `${uri} rotated after ${gap} s`);
    }
    // Each was used for handshakes, not only stored.
    const known = load.serials.get(CLIENT) ?? [];
    assert.deepEqual(
      known.slice(0, ROTATIONS).filter((serial) => !load.seenByServer.has(serial)),
      [],
    );
    assert.deepEqual(await rootsOf(pair), roots);
    for (const [envoy, uri] of [
      [pair.server, SERVER],
      [pair.client, CLIENT],
    ] as const) {
      assert.ok((await sdsStat(envoy, uri, 'update_success')) > ROTATIONS);
      assert.equal(await sdsStat(envoy, uri, 'update_rejected'), 0);
      assert.equal(await sdsStat(envoy, uri, 'update_failure'), 0);
    }
  });

  it('outlives a killed and restarted daemon without one failed request (E20)', async (t) => {
    await using daemon = await createDaemon({ svidTtl: '20s', entries: ENTRIES });
    await daemon.start();
    await using pair = await startPair(await findPlace(daemon.socketPath));
    const roots = await rootsOf(pair);
    const before = svidOf(await daemon.fetchX509(), CLIENT);
    await using load = startWatchedLoad(pair);
    await load.look();

    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      const held = new Map([...load.serials].map(([uri, serials]) => [uri, serials.length]));
      await daemon.stop(signal);
      // Nobody is there: what was sent last stays in use, on old and on new connections.
      const sent = load.count().sent;
      await eventually(() => load.count().sent > sent + 300, { what: 'load goes on without' });
      await load.look();
      await daemon.start();
      await eventually(
        async () => {
          await load.look();
          return [...load.serials].every(([uri, all]) => all.length > (held.get(uri) ?? 0));
        },
        {
          what: `both ends get new certificates after ${signal}`,
          timeoutMs: 25_000,
          hopeless: () => load.expired() ?? daemon.died(),
        },
      );
    }
    // An SVID of the first life of the daemon against an Envoy that lives on its third.
    const headers = await mtlsGet({
      port: pair.serverPort,
      server: SERVER,
      trust: before.bundle,
      svid: before,
    });
    assert.match(String(headers['x-forwarded-client-cert']), new RegExp(`URI=${CLIENT}$`));
    const after = svidOf(await daemon.fetchX509(), CLIENT);
    assert.equal(after.bundle, before.bundle);
    assert.equal(issuersOf(after.cert), issuersOf(before.cert));

    const { sent, answered, failures } = await load.stop();
    t.diagnostic(`${sent} requests, ${failures.length} failed`);
    assert.deepEqual(failures, []);
    assert.equal(answered, sent);
    assert.deepEqual(await rootsOf(pair), roots);
    for (const [envoy, uri] of [
      [pair.server, SERVER],
      [pair.client, CLIENT],
    ] as const) {
      assert.equal(await sdsStat(envoy, uri, 'update_rejected'), 0);
    }
  });

  it('keeps a long TCP connection across rotations, new ones get the new SVID (E9)', async () => {
    await using daemon = await createDaemon({ svidTtl: '8s', entries: ENTRIES });
    await daemon.start();
    const place = await findPlace(daemon.socketPath);
    await using application = await startEchoServer(place.port('tcpApplication'));
    assert.ok(application);
    await using envoy = await startEnvoy({
      bootstrap: await readBootstrap('tcp-proxy', place.replacements),
      name: 'tcp-proxy',
    });
    await envoy.waitLive();
    const first = (await envoy.leaf(CLIENT))?.serial;

    const long = await tcpConnect(place.port('tcpOut'));
    assert.equal(await echo(long, 'before'), 'before');
    const serials = new Set([first]);
    await eventually(
      async () => serials.add((await envoy.leaf(CLIENT))?.serial).size >= 3 && serials,
      { what: 'the client end rotates twice', timeoutMs: 25_000, hopeless: () => daemon.died() },
    );
    assert.equal(await echo(long, 'after'), 'after');
    const short = await tcpConnect(place.port('tcpOut'));
    assert.equal(await echo(short, 'new'), 'new');
    short.destroy();
    const [shortLine] = await accessLines(envoy, 1);
    long.destroy();
    const [, longLine] = await accessLines(envoy, 2);

    assert.equal(longLine, `peer=${CLIENT} serial=${first}`);
    assert.match(shortLine ?? '', new RegExp(`^peer=${CLIENT} serial=[0-9a-f]+$`));
    assert.notEqual(shortLine, longLine);
  });
});

async function rootsOf({ server, client }: Pair): Promise<readonly string[]> {
  const contexts = [...(await server.certs()), ...(await client.certs())];
  const roots = contexts.flatMap((context) => context.roots.map(({ serial }) => serial));
  assert.ok(roots.length >= 2, 'each end trusts a root');
  return roots;
}

function sdsStat(envoy: Envoy, uri: string, stat: string): Promise<number> {
  return envoy.stat(`sds.${uri.replace('spiffe://', 'spiffe_')}.${stat}`);
}

/** The chain above the leaf. */
function issuersOf(pem: string): string {
  const above = pem.split('-----END CERTIFICATE-----').slice(1).join('').trim();
  assert.notEqual(above, '', 'the chain has an issuing CA');
  return above;
}

async function echo(socket: Socket, text: string): Promise<string> {
  socket.write(text);
  const [data] = (await once(socket, 'data', { signal: AbortSignal.timeout(5_000) })) as [Buffer];
  return data.toString();
}

/** What the tcp proxy logged of closed connections, without the times. */
function accessLines(envoy: Envoy, count: number): Promise<readonly string[]> {
  return eventually(
    () => {
      const lines = [...envoy.log().matchAll(/\[access\] (peer=\S+ serial=\S+)/g)];
      return lines.length >= count && lines.map((match) => match[1] ?? '');
    },
    { what: `${count} connections are logged` },
  );
}
