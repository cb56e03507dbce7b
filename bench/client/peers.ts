import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pipe, unconnectedSocket } from './system.ts';

/** A socket that one of the processes has connected. */
export interface PeerSocket {
  readonly socket: Socket;
  /** Monotonic time just before connect(), comparable with `process.hrtime` here. */
  readonly startedNs: bigint;
  /** How much of the opening that process has sent. */
  readonly written: number;
  /** How often a full listen backlog turned it away before. */
  readonly refusals: number;
}

/** Processes that wait for their word to connect, each with its own pid. */
export interface Peers {
  /** Lets `count` more processes connect, all in the same instant, `perProcess` sockets each. */
  connect(count: number): void;
  /** Ends the processes; sockets that were handed out stay open. */
  close(): Promise<void>;
}

/** Receives each connected socket, or why a process could not connect. */
export interface PeerEvents {
  connected(peer: PeerSocket): void;
  refused(error: Error): void;
}

const RECORD = 24;
const READY = 0xffffffff;
const PROGRAM = fileURLToPath(new URL('peer-processes.mjs', import.meta.url));

/**
 * Makes `count` processes that will connect to `path` and send `opening` first. They belong to the
 * users `uids` in turn, or to our own when there are none.
 */
export async function createPeers(
  options: {
    path: string;
    count: number;
    perProcess: number;
    uids: readonly number[];
    /** Folders of cgroups that they are put into, in turn; none: they stay in ours. */
    cgroups?: readonly string[];
    /** 0: a refused connection is an error. */
    retryMs: number;
    opening: Buffer;
  },
  events: PeerEvents,
): Promise<Peers> {
  const { path, count, perProcess, uids, cgroups = [], retryMs, opening } = options;
  const sockets = Array.from({ length: count * perProcess }, () => unconnectedSocket());
  const go = pipe();
  const report = pipe();
  const child = spawn(
    process.execPath,
    // A fork has one thread: an engine that never had more does not miss them.
    [
      ...['--single-threaded', '--expose-gc', '--min-semi-space-size=2', PROGRAM, path],
      ...[count, perProcess, opening.length, retryMs, ...uids].map(String),
    ],
    { stdio: ['pipe', 'inherit', 'inherit', go.readFd, report.writeFd, ...sockets] },
  );
  closeSync(go.readFd);
  closeSync(report.writeFd);
  child.stdin?.on('error', () => undefined);
  child.stdin?.write(opening);
  await readReports(new Socket({ fd: report.readFd, writable: false }), child, (record) => {
    const index = record.readUInt32LE(0);
    const fd = sockets[index];
    // The peers have been closed while this one connected.
    if (fd === undefined) return;
    sockets[index] = -1;
    const errno = record.readInt32LE(4);
    if (errno !== 0) {
      closeSync(fd);
      return events.refused(new Error(`connect was refused, errno ${errno}`));
    }
    events.connected({
      socket: new Socket({ fd, readable: true, writable: true }),
      written: record.readInt32LE(8),
      refusals: record.readUInt32LE(12),
      startedNs: record.readBigUInt64LE(16),
    });
  });
  moveChildren(child.pid ?? 0, cgroups);
  return {
    connect: (more) => void writeSync(go.writeFd, Buffer.alloc(more)),
    async close() {
      closeSync(go.writeFd);
      for (const fd of sockets.splice(0)) if (fd >= 0) closeSync(fd);
      await ended(child);
    },
  };
}

/** The processes are forks of one that stays where it is. */
function moveChildren(pid: number, cgroups: readonly string[]): void {
  if (cgroups.length === 0) return;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  for (const [n, child] of children.entries()) {
    writeFileSync(join(cgroups[n % cgroups.length] ?? '', 'cgroup.procs'), child);
  }
}

/** Reads records for ever; resolves when the processes are ready. */
function readReports(
  reports: Socket,
  child: ChildProcess,
  onRecord: (record: Buffer) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let rest = Buffer.alloc(0);
    reports.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      while (rest.length >= RECORD) {
        const record = rest.subarray(0, RECORD);
        rest = rest.subarray(RECORD);
        if (record.readUInt32LE(0) === READY) resolve();
        else onRecord(record);
      }
    });
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`peer processes ended early, code ${code}`)));
  });
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.stdin?.end();
  await exit;
}
