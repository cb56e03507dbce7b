import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import { eventually } from '../../test/support/eventually.ts';
import { PYTHON } from '../../test/support/peer-process.ts';
import { createKernel } from './native.ts';

const folder = mkdtempSync(join(tmpdir(), 'credence-native-'));
after(() => rmSync(folder, { recursive: true }));

/** A hundred children connect; at a word from stdin all are killed, and stay zombies. */
const FAMILY = `
import os, signal, socket, sys
children = []
alive, parent = os.pipe()
for _ in range(100):
    pid = os.fork()
    if pid == 0:
        os.close(parent)
        s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
        os.read(alive, 1)
        os._exit(0)
    children.append(pid)
print("born", flush=True)
sys.stdin.readline()
for pid in children:
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
print("dead", flush=True)
signal.pause()
`;

const O_CLOEXEC = 0o2000000;
const fdinfo = (fd: number) => readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1');
const descriptor = (socket: Socket) =>
  Number(Reflect.get(Reflect.get(socket, '_handle') as object, 'fd'));

describe('the kernel', () => {
  const kernel = createKernel();
  const path = join(folder, 'k.sock');
  const server = createServer();
  let client: Socket;
  let accepted: Socket;
  let fd: number;

  before(async () => {
    server.listen(path);
    await once(server, 'listening');
    client = connect(path);
    [accepted] = (await once(server, 'connection')) as [Socket];
    fd = descriptor(accepted);
  });
  after(() => {
    accepted.destroy();
    client.destroy();
    server.close();
  });

  it('names the process at the other end', () => {
    const { pid, uid, gid } = kernel.peerCredentials(fd);
    assert.deepEqual([pid, uid, gid], [process.pid, process.geteuid?.(), process.getegid?.()]);
  });

  it('gives a close-on-exec descriptor for that process', () => {
    const pidfd = kernel.peerPidfd(fd, process.pid);
    assert.ok(pidfd !== undefined);
    assert.equal(kernel.pidOf(pidfd), process.pid);
    assert.equal(kernel.hasExited(pidfd), false);
    const [, flags = ''] = /^flags:\t(\d+)$/m.exec(fdinfo(pidfd)) ?? [];
    assert.ok(Number.parseInt(flags, 8) & O_CLOEXEC);
    closeSync(pidfd);
  });

  it('refuses to name a peer where there is none', () => {
    const file = openSync('/dev/null', 'r');
    assert.throws(() => kernel.peerCredentials(file), { code: 'ERR_ATTESTATION' });
    assert.equal(kernel.peerPidfd(file, process.pid), undefined);
    closeSync(file);
  });

  it('takes a descriptor that is no pidfd, or closed, for a process that has ended', () => {
    const file = openSync('/dev/null', 'r');
    closeSync(file);
    assert.equal(kernel.hasExited(file), true);
  });

  it('watches many processes at once and tells of those that ended until they are removed', async () => {
    const watch = kernel.createExitWatch();
    const sockets: Socket[] = [];
    server.on('connection', (socket) => sockets.push(socket));
    const parent = spawn(PYTHON, ['-c', FAMILY, path], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: parent.stdout });
    await once(lines, 'line');
    while (sockets.length < 100) await new Promise((resolve) => setImmediate(resolve));
    const pidfds = sockets.map((socket) => {
      const socketFd = descriptor(socket);
      const pidfd = kernel.peerPidfd(socketFd, kernel.peerCredentials(socketFd).pid) ?? -1;
      watch.add(pidfd);
      return pidfd;
    });
    assert.deepEqual(watch.exited(), []);
    const told = new Promise<void>((resolve) => watch.wait(resolve));
    parent.stdin.write('end\n');
    await once(lines, 'line');
    await told;
    const seen = new Set<number>();
    for (let told = watch.exited(); told.length > 0; told = watch.exited()) {
      for (const pidfd of told) {
        seen.add(pidfd);
        watch.remove(pidfd);
      }
    }
    assert.deepEqual([...seen].sort(), [...pidfds].sort());
    for (const pidfd of pidfds) {
      assert.equal(kernel.hasExited(pidfd), true);
      closeSync(pidfd);
    }
    watch.close();
    for (const socket of sockets) socket.destroy();
    parent.kill('SIGKILL');
  });

  it('keeps no descriptor of its own but the watch, which a waiting thread leaves', async () => {
    const before = watches();
    createKernel().createExitWatch().close();
    assert.equal(watches(), before);
    const watch = createKernel().createExitWatch();
    assert.equal(watches(), before + 2);
    watch.wait(() => assert.fail('nobody waits for a closed watch'));
    watch.close();
    await eventually(() => watches() === before, { what: 'the thread to leave the watch' });
  });
});

/** The descriptors of this process that wait for others. */
function watches(): number {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return '';
    }
  });
  return links.filter((link) => /\[event(poll|fd)\]/.test(link)).length;
}
