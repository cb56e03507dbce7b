// What the kernel says of processes that try to be somebody else. Needs root and python3.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, readFile, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { before, describe, it } from 'node:test';
import { IdentityError } from '../../src/core/errors.ts';
import { startAttestingServer, type AttestingServer } from '../support/attesting-server.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { eventually } from '../support/eventually.ts';
import { PYTHON, startPeer } from '../support/peer-process.ts';

const signal = new AbortController().signal;
const code = (expected: string) => (error: unknown) =>
  error instanceof IdentityError && error.code === expected;
const AS_10001 = ['setpriv', '--reuid', '10001', '--regid', '10001', '--clear-groups'];

async function openServer(): Promise<AttestingServer> {
  const server = await startAttestingServer();
  await chmod(dirname(server.path), 0o755);
  return server;
}

describe('attestation on a real kernel', () => {
  before(() => {
    assert.equal(
      process.getuid?.(),
      0,
      'these tests change users and namespaces: run them as root',
    );
    for (const [command, ...args] of [
      ['setpriv', '--version'],
      ['unshare', '--version'],
      [PYTHON, '--version'],
    ] as const) {
      const { status } = spawnSync(command, args);
      assert.equal(status, 0, `${command} is needed (util-linux and python3 of the distribution)`);
    }
  });

  it('sees the user that a process was started as', async () => {
    await using server = await openServer();
    await using peer = await startPeer(server.path, AS_10001);
    const { connection } = await server.next();
    const caller = await connection.caller({ signal });
    assert.equal(caller.credentials.pid, peer.pid);
    assert.ok(caller.selectors.includes('unix:uid:10001' as never));
    assert.ok(!caller.selectors.includes('unix:uid:0' as never));
  });

  it('sees every group of a process that is in a thousand', async () => {
    await using server = await openServer();
    const groups = Array.from({ length: 1000 }, (_, n) => 100_000 + n);
    await using _peer = await startPeer(server.path, [
      ...['setpriv', '--reuid', '10001', '--regid', '10001', '--groups', groups.join(',')],
    ]);
    const { connection } = await server.next();
    const { selectors } = await connection.caller({ signal });
    const seen = selectors.filter((one) => one.startsWith('unix:supplementary_gid:'));
    assert.deepEqual(
      seen,
      groups.map((id) => `unix:supplementary_gid:${id}`),
    );
  });

  const group = (gid: number) => `unix:supplementary_gid:${gid}` as never;

  it('looks at the groups of a process for each further stream', async () => {
    // Its clock stands still: nothing but the question itself can tell.
    await using server = await startAttestingServer({ clock: new FakeClock() });
    await using peer = await startPeer(server.path, ['setpriv', '--groups', '4242,4243']);
    const { connection } = await server.next();
    const caller = await connection.caller({ signal });
    assert.ok(caller.selectors.includes(group(4242)));
    await peer.ask('groups 4243');
    assert.equal(await connection.caller({ signal }), caller);
    assert.ok(!caller.selectors.includes(group(4242)));
    assert.ok(caller.selectors.includes(group(4243)));
  });

  it('tells within a tenth of a second, unasked, that a process has dropped or gained groups', async () => {
    const clock = new FakeClock();
    await using server = await startAttestingServer({ clock });
    await using peer = await startPeer(server.path, ['setpriv', '--clear-groups']);
    const { connection } = await server.next();
    const caller = await connection.caller({ signal });
    let told = 0;
    caller.onChange(() => told++);
    for (const [gid, former] of [
      [77, 4243],
      [4243, 77],
    ] as const) {
      await clock.advance(100);
      const before = told;
      await peer.ask(`groups ${gid}`);
      await clock.advance(100);
      assert.equal(told, before + 1);
      assert.ok(caller.selectors.includes(group(gid)));
      assert.ok(!caller.selectors.includes(group(former)));
    }
    assert.equal(caller.gone.aborted, false, 'it is the same process');
  });

  it('looks at the groups before it renews anything', async () => {
    await using server = await startAttestingServer({ clock: new FakeClock() });
    await using peer = await startPeer(server.path, ['setpriv', '--groups', '77,4243']);
    const { connection } = await server.next();
    const caller = await connection.caller({ signal });
    await peer.ask('groups 4243');
    assert.equal(caller.isUnchanged(), true);
    assert.ok(!caller.selectors.includes(group(77)));
  });

  it('ends within a tenth of a second, unasked, what a process was that has changed its user', async () => {
    const clock = new FakeClock();
    await using server = await startAttestingServer({ clock });
    await using peer = await startPeer(server.path);
    const { connection } = await server.next();
    const caller = await connection.caller({ signal });
    await clock.advance(100);
    assert.equal(caller.gone.aborted, false);
    await peer.ask('uid 10002');
    await clock.advance(100);
    assert.ok(code('ERR_PEER_GONE')(caller.gone.reason));
    await assert.rejects(connection.caller({ signal }), code('ERR_PEER_GONE'));
  });

  it('refuses a process that changed its user after it connected', async () => {
    await using server = await openServer();
    await using peer = await startPeer(server.path);
    const { connection } = await server.next();
    const caller = await connection.caller({ signal });
    await peer.ask('uid 10002');
    assert.equal(caller.isAlive(), false);
    await assert.rejects(connection.caller({ signal }), code('ERR_PEER_GONE'));
    assert.ok(caller.gone.aborted);
  });

  it('refuses one that changed before it was attested, and takes its next connection as what it is', async () => {
    await using server = await openServer();
    await using peer = await startPeer(server.path);
    const first = await server.next();
    await chmod(server.path, 0o777);
    await peer.ask('uid 10002');
    await assert.rejects(first.connection.caller({ signal }), code('ERR_PEER_GONE'));
    await peer.ask('again');
    const { connection } = await server.next();
    const caller = await connection.caller({ signal });
    assert.ok(caller.selectors.includes('unix:uid:10002' as never));
  });

  it('keeps a process that runs another program: it is the same process', async () => {
    await using server = await openServer();
    await using peer = await startPeer(server.path, AS_10001);
    const { connection } = await server.next();
    const caller = await connection.caller({ signal });
    peer.child.stdin?.write('exec 30\n');
    await eventually(
      () =>
        spawnSync('cat', [`/proc/${peer.pid}/comm`])
          .stdout.toString()
          .trim() === 'sleep',
      { what: 'the other program' },
    );
    assert.equal(caller.isAlive(), true);
    assert.equal(await connection.caller({ signal }), caller);
  });

  it("refuses a process that runs a program of another user, with that user's rights", async () => {
    await using server = await openServer();
    await using peer = await startPeer(server.path, AS_10001);
    const { connection } = await server.next();
    const caller = await connection.caller({ signal });
    assert.equal(caller.isAlive(), true);
    const program = join(dirname(server.path), 'sleep');
    await copyFile(await realpath('/bin/sleep'), program);
    await chmod(program, 0o4755);
    peer.child.stdin?.write(`run ${program}\n`);
    await eventually(
      async () => /^Uid:\t10001\t0\t/m.test(await readFile(`/proc/${peer.pid}/status`, 'latin1')),
      { what: 'root rights (is the folder for temporary files mounted nosuid?)' },
    );
    assert.equal(caller.isAlive(), false);
    await assert.rejects(connection.caller({ signal }), code('ERR_PEER_GONE'));
  });

  it('attests a process that hides its files, and still sees it change its user', async () => {
    await using server = await openServer();
    await using peer = await startPeer(server.path);
    await peer.ask('hide');
    const { connection } = await server.next();
    const caller = await connection.caller({ signal });
    assert.ok(caller.selectors.includes('unix:uid:0' as never));
    assert.equal(caller.isAlive(), true);
    await peer.ask('uid 10002');
    await peer.ask('hide');
    assert.equal(caller.isAlive(), false);
    await assert.rejects(connection.caller({ signal }), code('ERR_PEER_GONE'));
  });

  it('keeps a process that begins to hide its files', async () => {
    await using server = await openServer();
    await using peer = await startPeer(server.path, AS_10001);
    const { connection } = await server.next();
    const caller = await connection.caller({ signal });
    await peer.ask('hide');
    assert.equal(caller.isAlive(), true);
    assert.equal(await connection.caller({ signal }), caller);
  });

  it('takes a socket that was passed on for the process that opened it, while that lives', async () => {
    await using server = await openServer();
    // The opener hands its socket to a child over SCM_RIGHTS, then ends when told.
    const script = `
import os, socket, sys
a, b = socket.socketpair(socket.AF_UNIX)
if os.fork() == 0:
    a.close()
    msg, fds, _, _ = socket.recv_fds(b, 1, 1)
    import time; time.sleep(60)
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
socket.send_fds(a, [b"x"], [s.fileno()])
print(os.getpid(), flush=True)
sys.stdin.readline()
os._exit(0)
`;
    const opener = spawn(PYTHON, ['-c', script, server.path], { detached: true });
    try {
      const [line] = (await once(opener.stdout, 'data')) as [Buffer];
      const { connection, socket } = await server.next();
      const caller = await connection.caller({ signal });
      assert.equal(caller.credentials.pid, Number(line.toString()));
      opener.stdin.write('end\n');
      await eventually(() => caller.gone.aborted, { what: 'the end of the caller' });
      assert.equal(socket.destroyed, false);
      await assert.rejects(connection.caller({ signal }), code('ERR_PEER_GONE'));
    } finally {
      if (opener.pid !== undefined) process.kill(-opener.pid, 'SIGKILL');
    }
  });

  it('sees a process of a child pid namespace by its number here', async () => {
    await using server = await openServer();
    await using _peer = await startPeer(server.path, [
      'unshare',
      '--pid',
      '--fork',
      '--kill-child',
      '--mount-proc',
    ]);
    const { connection } = await server.next();
    const caller = await connection.caller({ signal });
    assert.ok(caller.credentials.pid > 1);
    assert.equal(caller.isAlive(), true);
  });

  it('never gives a reused pid the identity of its former owner', async () => {
    await using server = await openServer();
    // In a pid namespace of its own the next pid can be chosen: the same number, another process.
    const script = `
import os, socket, sys
path = sys.argv[1]
def child():
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(w)
        s = socket.socket(socket.AF_UNIX); s.connect(path)
        os.read(r, 1)
        os._exit(0)
    os.close(r)
    return pid, w
first, w = child()
sys.stdin.readline()
os.close(w); os.waitpid(first, 0)
open("/proc/sys/kernel/ns_last_pid", "w").write(str(first - 1))
second, w = child()
print("reused" if second == first else "other", flush=True)
sys.stdin.readline()
`;
    const outer = spawn(
      'unshare',
      ['--pid', '--fork', '--kill-child', '--mount-proc', PYTHON, '-c', script, server.path],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    try {
      const first = await server.next();
      const caller = await first.connection.caller({ signal });
      outer.stdin.write('next\n');
      const [line] = (await once(outer.stdout, 'data')) as [Buffer];
      assert.equal(line.toString().trim(), 'reused');
      const second = await server.next();
      const other = await second.connection.caller({ signal });
      assert.notEqual(other.key, caller.key);
      assert.equal(caller.isAlive(), false);
      await assert.rejects(first.connection.caller({ signal }), code('ERR_PEER_GONE'));
    } finally {
      outer.kill('SIGKILL');
    }
  });

  it('tells a caller from outside its pid namespace to run it with hostPID', async () => {
    // The other way round: the daemon's side in a namespace of its own sees pid 0.
    const source = `
import { startAttestingServer } from './test/support/attesting-server.ts';
const server = await startAttestingServer();
console.log(server.path);
const { connection } = await server.next();
try {
  await connection.caller({ signal: new AbortController().signal });
  console.log('attested');
} catch (error) {
  console.log(error.code, error.message);
}
process.exit(0);
`;
    const inner = spawn(
      'unshare',
      [
        ...['--pid', '--fork', '--kill-child', '--mount-proc'],
        ...[process.execPath, '--import', 'tsx', '--input-type=module', '-e', source],
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let text = '';
    inner.stdout.on('data', (part: Buffer) => (text += part.toString()));
    await eventually(() => text.includes('\n'), { what: 'the listener inside' });
    await using _peer = await startPeer(text.split('\n')[0] ?? '');
    await once(inner, 'exit');
    assert.match(text, /ERR_PEER_HIDDEN .*hostPID/);
  });
});
