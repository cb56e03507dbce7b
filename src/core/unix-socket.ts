import { chmodSync, linkSync, lstatSync, renameSync, unlinkSync, type Stats } from 'node:fs';
import { connect, type Server } from 'node:net';
import { basename, dirname, resolve } from 'node:path';
import type { Clock } from './clock.ts';
import { errorText, IdentityError, systemCode } from './errors.ts';
import { systemRandom } from './random.ts';
import { prepareFolder } from './unix-socket-folder.ts';

/** Linux `sun_path` without its final zero byte. */
export const MAX_SOCKET_PATH_BYTES = 107;
/** 511, Node's default, refuses the thousandth proxy that connects in the same instant. */
const BACKLOG = 4096;
const PROBE_TIMEOUT_MS = 1000;
const NO_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'ENOSYS']);

export interface SocketOptions {
  readonly path: string;
  /** Mode of the socket file from the moment it appears. */
  readonly mode: number;
  /** Mode of the folder when it has to be made. */
  readonly folderMode: number;
  readonly clock: Clock;
}

/** What stands under the name of a socket. */
export type Standing = 'ours' | 'nothing' | 'another';

/** A listening socket; `close` takes its file away unless another has replaced it; never throws. */
export interface BoundSocket {
  /**
   * Folders above the socket's own through which another user could replace it, each a sentence for
   * the log: a home folder may be meant so, an operator should know.
   */
  readonly doubts: readonly string[];
  /** One lstat(2); throws when it cannot be told. */
  standing(): Standing;
  close(): void;
}

/**
 * Makes `server` listen on a Unix socket. A stale file is replaced, a live one is refused with
 * `ERR_ALREADY_RUNNING`, also when two start at once; the file appears with its final mode in one
 * step. Throws `ERR_SOCKET` when the path or its folder is unfit.
 */
export async function listenOnSocket(server: Server, options: SocketOptions): Promise<BoundSocket> {
  try {
    return await bind(server, options);
  } catch (thrown) {
    throw thrown instanceof IdentityError ? thrown : socketError(options.path, thrown);
  }
}

async function bind(server: Server, options: SocketOptions): Promise<BoundSocket> {
  const { path, mode, folderMode, clock } = options;
  checkPath(path);
  const doubts = prepareFolder(resolve(dirname(path)), folderMode);
  await findStale(path, clock);
  const temporary = temporaryName(path);
  await listen(server, temporary);
  try {
    chmodSync(temporary, mode);
    const ours = lstatSync(temporary);
    await publish(temporary, path, clock);
    const standing = (): Standing => {
      const now = lstatSync(path, { throwIfNoEntry: false });
      if (!now) return 'nothing';
      return sameFile(now, ours) ? 'ours' : 'another';
    };
    return {
      doubts,
      standing,
      close() {
        try {
          if (standing() === 'ours') removeFile(path);
        } catch {
          // A file that may not be taken away any more stays; the next start finds it stale.
        }
      },
    };
  } catch (thrown) {
    server.close();
    throw thrown;
  } finally {
    removeFile(temporary);
  }
}

function checkPath(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_SOCKET_PATH_BYTES) {
    throw new IdentityError(
      'ERR_SOCKET',
      `socket path ${path} has ${bytes} bytes, at most ${MAX_SOCKET_PATH_BYTES} are possible`,
    );
  }
  if (path === '' || path.endsWith('/') || path.includes('\0')) {
    throw new IdentityError('ERR_SOCKET', `socket path ${JSON.stringify(path)} names no file`);
  }
}

/** A free name in the same folder, which may have to be a short one to fit. */
function temporaryName(path: string): string {
  const folder = path.slice(0, path.length - basename(path).length);
  const room = MAX_SOCKET_PATH_BYTES - Buffer.byteLength(folder);
  return folder + `~${systemRandom.bytes(6).toString('hex')}`.slice(0, room);
}

/**
 * Gives the socket its name. link(2) fails when the name is taken, where rename(2) would silently
 * take it from another daemon that starts at the same time.
 */
async function publish(temporary: string, path: string, clock: Clock): Promise<void> {
  for (;;) {
    const stale = await findStale(path, clock);
    if (stale) takeAway(path, stale);
    try {
      linkSync(temporary, path);
      return;
    } catch (thrown) {
      const code = systemCode(thrown) ?? '';
      // A file system of a guest or over the network may have no links.
      if (NO_LINKS.has(code)) return renameSync(temporary, path);
      if (code !== 'EEXIST') throw thrown;
    }
  }
}

/**
 * Moves the stale file out of the way, then looks whether it was that one: another daemon that
 * found it stale too may have put its own in the place a moment ago, and gets it back.
 */
function takeAway(path: string, stale: Stats): void {
  const now = lstatSync(path, { throwIfNoEntry: false });
  if (!now || !sameFile(now, stale)) return;
  const aside = `${path}.${systemRandom.bytes(6).toString('hex')}~`;
  try {
    renameSync(path, aside);
  } catch (thrown) {
    if (systemCode(thrown) === 'ENOENT') return;
    throw thrown;
  }
  try {
    if (!sameFile(lstatSync(aside), stale)) linkSync(aside, path);
  } finally {
    removeFile(aside);
  }
}

/**
 * Inode numbers are used again at once, so the time of making counts too. A rename keeps it, touch(1)
 * does not; some file systems know when the file was born, and others say 0.
 */
function sameFile(a: Stats, b: Stats): boolean {
  const sameBirth = a.birthtimeMs > 0 && a.birthtimeMs === b.birthtimeMs;
  return a.ino === b.ino && a.dev === b.dev && (sameBirth || a.mtimeMs === b.mtimeMs);
}

/** The socket file that nobody listens on any more, or undefined when the name is free. */
async function findStale(path: string, clock: Clock): Promise<Stats | undefined> {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (!stats) return undefined;
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
  return stats;
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
