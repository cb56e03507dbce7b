import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { describe, it } from 'node:test';
import { startAttestingServer } from '../../test/support/attesting-server.ts';
import { eventually } from '../../test/support/eventually.ts';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { PYTHON, startPeer } from '../../test/support/peer-process.ts';
import { IdentityError } from '../core/errors.ts';
import { parseSelector } from '../identity/selector.ts';
import type { Kernel } from './kernel.ts';
import { createKernel } from './native.ts';

const signal = new AbortController().signal;
const code = (expected: string) => (error: unknown) =>
  error instanceof IdentityError && error.code === expected;

/** The real kernel, but for what a test wants to be otherwise. */
function kernelWith(changes: Partial<Kernel>): Kernel {
  const real = createKernel();
  return { ...real, ...changes };
}

/** Its child connects, not as root; it reaps the child. */
const REAPER = `
import os, socket, sys
pid = os.fork()
if pid == 0:
    if os.geteuid() == 0:
        os.setegid(10001); os.seteuid(10001)
    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
    sys.stdin.readline()
    os._exit(0)
os.waitpid(pid, 0)
sys.stdin.readline()
`;

function openFds(): number {
  return readdirSync('/proc/self/fd').length;
}

describe('attestation', () => {
  it('attests the process that connected with the selectors of its user', async () => {
    await using server = await startAttestingServer();
    await using peer = await startPeer(server.path);
    const { connection } = await server.next();
    assert.equal(connection.credentials.pid, peer.pid);
    const caller = await connection.caller({ signal });
    assert.ok(caller.selectors.includes(parseSelector(`unix:uid:${process.getuid?.() ?? -1}`)));
    assert.deepEqual(caller.selectors, [...caller.selectors].sort());
    assert.equal(caller.isAlive(), true);
    assert.equal(caller.gone.aborted, false);
    assert.deepEqual(server.unidentified, []);
  });

  it('gives all connections of a process one caller, and each connection its own id', async () => {
    await using server = await startAttestingServer();
    await using peer = await startPeer(server.path);
    const first = await server.next();
    await peer.ask('again');
    const second = await server.next();
    const callers = [
      await first.connection.caller({ signal }),
      await second.connection.caller({ signal }),
    ];
    assert.equal(callers[0], callers[1]);
    assert.notEqual(first.connection.id, second.connection.id);
    assert.equal(first.socket.remoteAddress, first.connection.id);
    assert.equal(server.attestation.processes, 1);
  });

  it('keeps a process that reconnects apart from any other process', async () => {
    const clock = new FakeClock();
    await using server = await startAttestingServer({ clock });
    await using peer = await startPeer(server.path);
    const first = await server.next();
    const caller = await first.connection.caller({ signal });
    const closed = once(first.socket, 'close');
    await peer.ask('drop');
    await closed;
    await peer.ask('again');
    const again = await server.next();
    assert.equal(await again.connection.caller({ signal }), caller);
    await using other = await startPeer(server.path);
    const { connection } = await server.next();
    const stranger = await connection.caller({ signal });
    assert.notEqual(stranger.key, caller.key);
    assert.equal(stranger.credentials.pid, other.pid);
  });

  it('forgets a process a minute after its last connection', async () => {
    const clock = new FakeClock();
    await using server = await startAttestingServer({ clock });
    await using peer = await startPeer(server.path);
    const { connection, socket } = await server.next();
    const caller = await connection.caller({ signal });
    const closed = once(socket, 'close');
    await peer.ask('drop');
    await closed;
    await clock.advance(59_000);
    assert.equal(caller.gone.aborted, false);
    await clock.advance(1_100);
    assert.equal(caller.gone.aborted, true);
    assert.equal(server.attestation.processes, 0);
  });

  it('says so by itself when the process ends', async () => {
    const clock = new FakeClock();
    await using server = await startAttestingServer({ clock });
    const peer = await startPeer(server.path);
    const { connection } = await server.next();
    const caller = await connection.caller({ signal });
    await peer.end();
    await eventually(() => caller.gone.aborted, { what: 'the end of the caller' });
    assert.ok(code('ERR_PEER_GONE')(caller.gone.reason));
    await settle();
    assert.equal(caller.isAlive(), false);
    await assert.rejects(connection.caller({ signal }), code('ERR_PEER_GONE'));
  });

  it('sees at once, without waiting for the watch, that a process has ended', async () => {
    const clock = new FakeClock();
    await using server = await startAttestingServer({ clock });
    const peer = await startPeer(server.path);
    const { connection } = await server.next();
    const caller = await connection.caller({ signal });
    await peer.end();
    assert.equal(caller.isAlive(), false);
  });

  it('answers for a process that ends and is reaped while a turn is under way', async () => {
    await using server = await startAttestingServer({ clock: new FakeClock() });
    await using _first = await startPeer(server.path);
    const known = await (await server.next()).connection.caller({ signal });
    await chmod(dirname(server.path), 0o755);
    const parent = spawn(PYTHON, ['-c', REAPER, server.path], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    try {
      const { connection } = await server.next();
      const caller = await connection.caller({ signal });
      await settle();
      // The first look of a turn asks the watch; the second finds the process gone without it.
      assert.equal(known.isAlive(), true);
      process.kill(caller.credentials.pid, 'SIGKILL');
      while (existsSync(`/proc/${caller.credentials.pid}`));
      assert.doesNotThrow(() => caller.isAlive());
      await assert.rejects(connection.caller({ signal }), code('ERR_PEER_GONE'));
      assert.equal(caller.isAlive(), false);
    } finally {
      parent.kill('SIGKILL');
    }
  });

  it('ends the caller when somebody else holds the socket of a process that has ended', async () => {
    await using server = await startAttestingServer();
    await using peer = await startPeer(server.path);
    const { connection, socket } = await server.next();
    const caller = await connection.caller({ signal });
    const heir = Number(await peer.ask('fork'));
    await eventually(() => caller.gone.aborted, { what: 'the end of the caller' });
    assert.equal(socket.destroyed, false, 'the socket itself is still open');
    await assert.rejects(connection.caller({ signal }), code('ERR_PEER_GONE'));
    process.kill(heir, 'SIGKILL');
  });

  it('accepts a peer without a visible pid and tells each call to set hostPID', async () => {
    const kernel = kernelWith({ peerCredentials: () => ({ pid: 0, uid: 1000, gid: 1000 }) });
    await using server = await startAttestingServer({ kernel });
    await using _peer = await startPeer(server.path);
    const { connection, socket } = await server.next();
    assert.deepEqual(server.unidentified, ['hidden']);
    await assert.rejects(connection.caller({ signal }), /hostPID/);
    await assert.rejects(connection.caller({ signal }), code('ERR_PEER_HIDDEN'));
    assert.equal(socket.destroyed, false);
  });

  it('takes a peer that died before it was looked at for gone', async () => {
    const kernel = kernelWith({ hasExited: () => true });
    await using server = await startAttestingServer({ kernel });
    await using _peer = await startPeer(server.path);
    const { connection } = await server.next();
    await assert.rejects(connection.caller({ signal }), code('ERR_PEER_GONE'));
    assert.equal(server.attestation.processes, 0);
    assert.deepEqual(server.unidentified, ['gone']);
  });

  it('pins by number below Linux 6.5, and refuses a number that was reused meanwhile', async () => {
    const real = createKernel();
    const weaker = { protection: 'pidfd-open' as const };
    {
      await using server = await startAttestingServer({ kernel: { ...real, ...weaker } });
      await using peer = await startPeer(server.path);
      const { connection } = await server.next();
      assert.equal((await connection.caller({ signal })).credentials.pid, peer.pid);
    }
    await using server = await startAttestingServer({
      kernel: { ...real, ...weaker, pidOf: () => -1 },
    });
    await using _peer = await startPeer(server.path);
    const { connection } = await server.next();
    await assert.rejects(connection.caller({ signal }), code('ERR_PEER_GONE'));
  });

  it('tells processes apart by start time where pidfds share one inode', async () => {
    const kernel = kernelWith({ processInode: () => undefined });
    await using server = await startAttestingServer({ kernel });
    await using peer = await startPeer(server.path);
    const { connection } = await server.next();
    const { key } = await connection.caller({ signal });
    assert.match(key, new RegExp(`^${peer.pid}\\.\\d+\\.\\d+\\.\\d+$`));
  });

  it('says that the daemon is short of descriptors, not that the peer has ended', async () => {
    const kernel = kernelWith({
      peerPidfd() {
        throw new IdentityError('ERR_LIMIT', 'no file descriptor left');
      },
    });
    await using server = await startAttestingServer({ kernel });
    await using _peer = await startPeer(server.path);
    const { connection } = await server.next();
    await assert.rejects(connection.caller({ signal }), code('ERR_LIMIT'));
    assert.deepEqual(server.unidentified, ['unreadable']);
  });

  it('leaves no descriptor behind, whether it attested or not', async () => {
    await using server = await startAttestingServer();
    const before = openFds();
    for (let round = 0; round < 20; round++) {
      const sockets = Array.from({ length: 50 }, () => connect(server.path));
      for (const socket of sockets) {
        const accepted = await server.next();
        if (round % 2 === 0) await accepted.connection.caller({ signal });
        socket.destroy();
      }
    }
    // This process lingers as a peer of itself: one pidfd and one folder.
    await eventually(() => openFds() <= before + 2, {
      what: `no more than ${before + 2} descriptors`,
    });
  });

  it('accepts on every path it is given and none of them after close', async () => {
    await using server = await startAttestingServer();
    await using peer = await startPeer(server.path);
    await server.next();
    await server[Symbol.asyncDispose]();
    await assert.rejects(once(connect(server.path), 'connect'), { code: 'ENOENT' });
    await peer.end();
  });
});
