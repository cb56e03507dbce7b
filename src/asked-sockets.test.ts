import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { eventually } from '../test/support/eventually.ts';
import { FakeClock, settle } from '../test/support/fake-clock.ts';
import { FakeLogger } from '../test/support/issuer.ts';
import { watchAskedSockets } from './asked-sockets.ts';
import type { Config } from './config.ts';

const PODMAN = '/run/podman/podman.sock';

function open(t: TestContext, paths: { docker?: string; podman?: string; bus?: string }) {
  const { docker: socketPath, podman: podmanSocketPath = '', bus } = paths;
  const attestation: Config['attestation'] = {
    unix: { enabled: true, discoverPath: false },
    kubernetes: undefined,
    docker:
      socketPath === undefined
        ? undefined
        : { socketPath, podmanSocketPath, podmanSocketPathTemplate: '', cgroupParents: [] },
    systemd: bus === undefined ? undefined : { busPath: bus },
  };
  const [clock, log] = [new FakeClock(), new FakeLogger()];
  const sockets = watchAskedSockets(attestation, { clock, log });
  t.after(() => sockets.close());
  const warnings = () =>
    log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields.path);
  return { clock, log, sockets, warnings };
}

/** Listens until the test ends, or sooner. */
async function listen(t: TestContext, path: string) {
  const server = createServer((socket) => socket.on('error', () => undefined));
  let connections = 0;
  server.on('connection', () => connections++);
  await once(server.listen(path), 'listening');
  t.after(() => server.close());
  return { connections: () => connections, close: () => once(server.close(), 'close') };
}

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'credence-asked-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const MUTE = { reason: 'no answer within 5 s', isMute: true };

describe('watchAskedSockets()', () => {
  it('says once of a socket that it is not there, and once that it is', async (t) => {
    const path = join(folder(t), 'bus');
    const { clock, log, sockets, warnings } = open(t, { bus: path });
    await eventually(() => warnings().length === 1, { what: 'the warning' });
    const sinceMs = clock.now();
    assert.deepEqual(warnings(), [path]);
    await clock.advance(30_000);
    sockets.told(path, { reason: 'there is no such socket', isMute: false });
    assert.equal(log.count('warn', 'systemd cannot be asked'), 1);
    const reason = 'there is no such socket';
    assert.deepEqual(sockets.all()[0]?.failing, { reason, sinceMs });
    await listen(t, path);
    await clock.advance(10_000);
    await eventually(() => log.count('info', 'systemd can be asked again') === 1, {
      what: 'the end of it',
    });
    assert.equal(sockets.all()[0]?.failing, undefined);
  });

  it('does not miss the engine that nobody named where the other answers', async (t) => {
    const docker = join(folder(t), 'docker.sock');
    await listen(t, docker);
    const { clock, sockets, warnings } = open(t, { docker, podman: PODMAN });
    await clock.advance(30_000);
    assert.deepEqual(warnings(), []);
    sockets.told(PODMAN, { reason: 'there is no such socket', isMute: false });
    assert.deepEqual(warnings(), [PODMAN]);
  });

  it('misses both where neither answers, and one that was named', async (t) => {
    const docker = join(folder(t), 'docker.sock');
    const neither = open(t, { docker, podman: PODMAN });
    await eventually(() => neither.warnings().length === 2, { what: 'both' });
    await listen(t, docker);
    const named = open(t, { docker, podman: `${docker}.podman` });
    await eventually(() => named.warnings().length === 1, { what: 'the other' });
  });

  it('does not take for well who listens and does not answer', async (t) => {
    const path = join(folder(t), 'bus');
    const server = await listen(t, path);
    const { clock, log, sockets } = open(t, { bus: path });
    await eventually(() => server.connections() === 1, { what: 'a connection' });
    const sinceMs = clock.now();
    sockets.told(path, MUTE);
    await clock.advance(10_000);
    await eventually(() => server.connections() === 2, { what: 'the next look' });
    await settle();
    assert.deepEqual(sockets.all()[0]?.failing, { reason: MUTE.reason, sinceMs });
    assert.equal(log.count('info', 'systemd can be asked again'), 0);
    sockets.told(path, undefined);
    assert.equal(sockets.all()[0]?.failing, undefined);
  });

  it('does not connect again to one that is well', async (t) => {
    const path = join(folder(t), 'bus');
    const server = await listen(t, path);
    const { clock } = open(t, { bus: path });
    await eventually(() => server.connections() === 1, { what: 'a connection' });
    await clock.advance(60_000);
    assert.equal(server.connections(), 1);
  });

  it('hears of attempts that fail and of those that do not', (t) => {
    const { log, sockets } = open(t, { bus: '/bus' });
    sockets.told('/bus', MUTE);
    sockets.told('/bus', MUTE);
    sockets.told('/bus', undefined);
    sockets.told('/another', MUTE);
    assert.deepEqual(
      log.lines.map(({ level, fields }) => [level, fields.reason]),
      [
        ['warn', 'no answer within 5 s'],
        ['info', undefined],
      ],
    );
  });
});
