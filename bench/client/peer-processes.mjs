// Becomes many processes, each of which connects one socket. A server that identifies its peer by
// kernel credentials sees the process that called connect(), so a thousand proxies take a thousand
// processes; as forks of one they cost little. Started by peers.ts, never by hand:
//   argv: socket path, number of processes, connections of each, bytes on fd 0 to send first,
//         milliseconds after which a refused connection is tried again (0: never),
//         then the users (uid, also taken as gid) that the processes belong to, in turn
//   fd 0 the first bytes; its end ends everything    fd 3 one byte lets one process go
//   fd 4 one record for each connection              fd 5... the sockets
import { readFileSync, readSync } from 'node:fs';
import { setInterval } from 'node:timers';
import koffi from 'koffi';

const GO = 3;
const REPORT = 4;
const SOCKETS = 5;
const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;
const MADV_DOFORK = 11;
const WNOHANG = 1;
const EAGAIN = 11; // the listen backlog is full
const SYS_CLOSE_RANGE = 436; // the same number on every architecture
const READY = 0xffffffff;

const libc = koffi.load(null);
const fork = libc.func('int fork()');
const pause = libc.func('int pause()');
const prctl = libc.func('int prctl(int, long, long, long, long)');
const read = libc.func('long read(int, void *, size_t)');
const write = libc.func('long write(int, const void *, size_t)');
const connect = libc.func('int connect(int, const void *, uint)');
const closeRange = libc.func('long syscall(long, uint, uint, uint)');
const getpid = libc.func('int getpid()');
const poll = libc.func('int poll(void *, ulong, int)');
const kill = libc.func('int kill(int, int)');
const waitpid = libc.func('int waitpid(int, void *, int)');
const setgroups = libc.func('int setgroups(size_t, const void *)');
const setgid = libc.func('int setgid(uint)');
const setuid = libc.func('int setuid(uint)');
const madvise = libc.func('int madvise(uintptr_t, size_t, int)');

const [path = '', count, each, length, retry, ...users] = process.argv.slice(2);
const processes = Number(count);
const perProcess = Number(each);
const retryMs = Number(retry);
const uids = users.map(Number);
const OWN_UID = process.getuid();
const LAST = SOCKETS + processes * perProcess - 1;
const opening = Buffer.alloc(Number(length));
for (let at = 0; at < opening.length;) at += readSync(0, opening, at, opening.length - at, null);

// struct sockaddr_un: a family in native order, then the path with its final zero.
const address = Buffer.concat([Buffer.from([0, 0]), Buffer.from(path), Buffer.from([0])]);
new Uint16Array(address.buffer, address.byteOffset, 1)[0] = 1;

const record = Buffer.alloc(24);
const go = Buffer.alloc(1);

function report(index, errno, written, startedNs, refusals = 0) {
  record.writeUInt32LE(index, 0);
  record.writeInt32LE(errno, 4);
  record.writeInt32LE(written, 8);
  record.writeUInt32LE(refusals, 12);
  record.writeBigUInt64LE(startedNs, 16);
  write(REPORT, record, record.length); // below PIPE_BUF: records never mix
}

function tryConnect(socket) {
  return connect(socket, address, address.length) === 0 ? 0 : koffi.errno();
}

/** Connects one socket and says how the proxy that it stands for begins. */
function connectOne(socket) {
  const startedNs = process.hrtime.bigint();
  let refusals = 0;
  let errno = tryConnect(socket);
  for (; errno === EAGAIN && retryMs > 0; errno = tryConnect(socket)) {
    refusals++;
    poll(null, 0, retryMs);
  }
  const written = errno !== 0 ? 0 : write(socket, opening, opening.length);
  report(socket - SOCKETS, errno, Math.max(written, 0), startedNs, refusals);
}

/** Gives up all that the parent may do; a child that cannot is of no use. */
function become(uid) {
  if (uid === OWN_UID) return;
  if (setgroups(0, null) !== 0 || setgid(uid) !== 0 || setuid(uid) !== 0) {
    kill(getpid(), SIGKILL);
  }
}

/** A child's whole life: only calls that need no other thread, for there is none in a fork. */
function live(index) {
  if (uids.length > 0) become(uids[index % uids.length]);
  // After the change of user, which resets it.
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  const first = SOCKETS + index * perProcess;
  const last = first + perProcess - 1;
  if (first > SOCKETS) closeRange(SYS_CLOSE_RANGE, SOCKETS, first - 1, 0);
  if (last < LAST) closeRange(SYS_CLOSE_RANGE, last + 1, LAST, 0);
  if (read(GO, go, 1) === 1) {
    for (let socket = first; socket <= last; socket++) connectOne(socket);
  }
  closeRange(SYS_CLOSE_RANGE, first, last, 0);
  for (;;) pause();
}

// Every call is made once before the forks: what has run needs no more loading in the child.
tryConnect(-1);
poll(null, 0, 0);
write(-1, record, 0);
read(-1, go, 0);
closeRange(SYS_CLOSE_RANGE, 0x7ffffffe, 0x7fffffff, 0);
getpid();
if (uids.length > 0) {
  setgroups(0, null);
  setgid(0);
  setuid(0);
}
process.hrtime.bigint();

/** The engine keeps its heap from forks (MADV_DONTFORK); a child that runs on needs all of it. */
function shareMemory() {
  for (const line of readFileSync('/proc/self/maps', 'latin1').split('\n')) {
    const map = /^([0-9a-f]+)-([0-9a-f]+) ...p \S+ 00:00 0/.exec(line);
    if (!map) continue;
    const start = BigInt(`0x${map[1]}`);
    madvise(start, BigInt(`0x${map[2]}`) - start, MADV_DOFORK);
  }
}

const children = new Map(); // pid to index
function forkChild(index) {
  const pid = fork();
  if (pid === 0) live(index);
  if (pid < 0) fail(`only ${index} of ${processes} processes could be made`);
  children.set(pid, index);
}

function fail(message) {
  console.error(`bench: ${message}`);
  end(1);
}

function end(code) {
  for (const pid of children.keys()) kill(pid, SIGKILL);
  for (const pid of children.keys()) waitpid(pid, null, 0);
  process.exit(code);
}

/** Memory that the engine added between sharing and forking kills a child at once: once more. */
function replaceDead(attempts) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
  const dead = [...children].filter(([pid]) => waitpid(pid, null, WNOHANG) === pid);
  if (dead.length === 0) return;
  if (attempts === 0) fail(`${dead.length} of ${processes} processes died at once`);
  shareMemory();
  for (const [pid, index] of dead) {
    children.delete(pid);
    forkChild(index);
  }
  replaceDead(attempts - 1);
}

// A young heap that is empty and large enough: the loop adds no memory, and no child collects any.
globalThis.gc();
shareMemory();
shareMemory(); // what the first pass allocated
for (let index = 0; index < processes; index++) forkChild(index);
replaceDead(5);
closeRange(SYS_CLOSE_RANGE, SOCKETS, LAST, 0);
report(READY, 0, 0, 0n);
// A server would be blamed for what it rightly does when a proxy dies.
setInterval(() => {
  const status = Buffer.alloc(4);
  if (waitpid(-1, status, WNOHANG) > 0) {
    console.error(
      `bench: the process of a proxy died by itself, wait status ${status.readInt32LE()}`,
    );
  }
}, 100).unref();
process.stdin
  .on('end', () => end(0))
  .on('error', () => end(1))
  .resume();
