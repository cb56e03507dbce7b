import {
  chmodSync,
  lstatSync,
  mkdirSync,
  renameSync,
  statSync,
  unlinkSync,
  type Stats,
} from 'node:fs';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';
import type { Clock } from './clock.ts';
import { errorText, IdentityError, systemCode } from './errors.ts';

/** Linux `sun_path` without its final zero byte. */
export const MAX_SOCKET_PATH_BYTES = 107;
/** 511, Node's default, refuses the thousandth proxy that connects in the same instant. */
const BACKLOG = 4096;
const PROBE_TIMEOUT_MS = 1000;

export interface SocketOptions {
  readonly path: string;
  /** Mode of the socket file from the moment it appears. */
  readonly mode: number;
  /** Mode of the folder when it has to be made. */
  readonly folderMode: number;
  readonly clock: Clock;
}

/** A listening socket; `close` takes its file away unless another process has replaced it. */
export interface BoundSocket {
  close(): void;
}

/**
 * Makes `server` listen on a Unix socket. A stale file is replaced, a live one is refused with
 * `ERR_ALREADY_RUNNING`; the file appears with its final mode in one step. Throws `ERR_SOCKET` when
 * the path or its folder is unfit.
 */
export async function listenOnSocket(server: Server, options: SocketOptions): Promise<BoundSocket> {
  const { path, mode, folderMode, clock } = options;
  checkLength(path);
  checkFolder(dirname(path), folderMode);
  await checkUnused(path, clock);
  const temporary = `${path.slice(0, MAX_SOCKET_PATH_BYTES - 12)}.${process.pid.toString(36)}~`;
  removeFile(temporary);
  await listen(server, temporary);
  try {
    chmodSync(temporary, mode);
    renameSync(temporary, path);
  } catch (thrown) {
    server.close();
    removeFile(temporary);
    throw socketError(path, thrown);
  }
  const ours = lstatSync(path);
  return {
    close() {
      const now = lstatSync(path, { throwIfNoEntry: false });
      if (now?.ino === ours.ino && now.dev === ours.dev) removeFile(path);
    },
  };
}

function checkLength(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes <= MAX_SOCKET_PATH_BYTES) return;
  throw new IdentityError(
    'ERR_SOCKET',
    `socket path ${path} has ${bytes} bytes, at most ${MAX_SOCKET_PATH_BYTES} are possible`,
  );
}

/** Whoever may write the folder can put a socket of his own in the place of ours. */
function checkFolder(folder: string, mode: number): void {
  try {
    mkdirSync(folder, { recursive: true, mode });
  } catch (thrown) {
    throw new IdentityError('ERR_SOCKET', `cannot create ${folder}: ${errorText(thrown)}`, {
      cause: thrown,
    });
  }
  const parent = statSync(folder);
  const fault = folderFault(parent, false);
  if (fault) throw unsafeFolder(folder, parent, fault);
  for (let at = dirname(folder); ; at = dirname(at)) {
    const stats = statSync(at);
    const reason = folderFault(stats, true);
    if (reason) throw unsafeFolder(at, stats, reason);
    if (at === dirname(at)) return;
  }
}

function folderFault(stats: Stats, ancestor: boolean): string | undefined {
  if (ancestor) {
    // In a sticky folder others cannot rename what is ours.
    const open = (stats.mode & 0o002) !== 0 && (stats.mode & 0o1000) === 0;
    return open ? 'may be written by everybody' : undefined;
  }
  const uid = process.geteuid?.() ?? 0;
  if (stats.uid !== 0 && stats.uid !== uid) return `belongs to uid ${stats.uid}`;
  if ((stats.mode & 0o002) !== 0) return 'may be written by everybody';
  const group = stats.gid !== 0 && stats.gid !== process.getegid?.();
  if ((stats.mode & 0o020) !== 0 && group) return `may be written by group ${stats.gid}`;
  return undefined;
}

function unsafeFolder(folder: string, stats: Stats, fault: string): IdentityError {
  const mode = (stats.mode & 0o7777).toString(8).padStart(4, '0');
  return new IdentityError(
    'ERR_SOCKET',
    `folder ${folder} of the socket ${fault} (mode ${mode}): another user could replace the socket`,
    { hint: `use a folder of our own, or: chmod go-w ${folder}` },
  );
}

async function checkUnused(path: string, clock: Clock): Promise<void> {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (!stats) return;
  if (!stats.isSocket()) {
    throw new IdentityError('ERR_SOCKET', `${path} exists and is not a socket`, {
      hint: 'move it away or choose another path',
    });
  }
  if (await answers(path, clock)) {
    throw new IdentityError(
      'ERR_ALREADY_RUNNING',
      `another credence is running: something answers on ${path}`,
    );
  }
}

/** Whether anybody accepts connections on the socket; a full backlog is an answer too. */
function answers(path: string, clock: Clock): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const done = (alive: boolean) => {
      timer.cancel();
      socket.destroy();
      resolve(alive);
    };
    const timer = clock.after(PROBE_TIMEOUT_MS, () => done(true));
    socket.once('connect', () => done(true));
    socket.once('error', (thrown) => {
      const code = systemCode(thrown);
      done(code !== 'ECONNREFUSED' && code !== 'ENOENT');
    });
  });
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (thrown: Error) => reject(socketError(path, thrown));
    server.once('error', onError);
    server.listen({ path, backlog: BACKLOG }, () => {
      server.off('error', onError);
      resolve();
    });
  });
}

function socketError(path: string, thrown: unknown): IdentityError {
  return new IdentityError('ERR_SOCKET', `cannot listen on ${path}: ${errorText(thrown)}`, {
    cause: thrown,
  });
}

function removeFile(path: string): void {
  try {
    unlinkSync(path);
  } catch (thrown) {
    if (systemCode(thrown) !== 'ENOENT') throw socketError(path, thrown);
  }
}
