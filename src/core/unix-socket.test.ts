import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { PYTHON } from '../../test/support/peer-process.ts';
import { systemClock } from './clock.ts';
import { IdentityError } from './errors.ts';
import { openFolderHint } from './unix-socket-folder.ts';
import { listenOnSocket, MAX_SOCKET_PATH_BYTES, type SocketOptions } from './unix-socket.ts';

describe('listenOnSocket()', () => {
  let folder: string;
  let servers: Server[];
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'credence-socket-'));
    servers = [];
  });
  afterEach(() => {
    for (const server of servers) server.close();
    chmodSync(folder, 0o700);
    rmSync(folder, { recursive: true, force: true });
  });

  function listen(path: string, options: Partial<SocketOptions> = {}) {
    const server = createServer((socket) => {
      // Who only looks whether anybody is there hangs up at once.
      socket.on('error', () => undefined).end(`from ${servers.indexOf(server)}`);
    });
    servers.push(server);
    const rest = { mode: 0o777, folderMode: 0o755, clock: systemClock };
    return listenOnSocket(server, { path, ...rest, ...options });
  }

  /** A socket file that nobody listens on, as a killed daemon leaves it. */
  function leaveStale(path: string): void {
    const bind = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', bind]);
    assert.ok(lstatSync(path).isSocket());
  }

  async function answerOf(path: string): Promise<string> {
    const socket = connect(path);
    const [text] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    return text.toString();
  }

  const refused = (code: string, message: RegExp) => (error: unknown) => {
    assert.ok(error instanceof IdentityError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  };

  describe('path', () => {
    it('may have 107 bytes, and not one more', async () => {
      const name = 'é'.repeat(20);
      const room = MAX_SOCKET_PATH_BYTES - Buffer.byteLength(join(folder, name));
      const longest = join(folder, name + 'a'.repeat(room));
      assert.equal(Buffer.byteLength(longest), 107);
      await listen(longest);
      assert.equal(await answerOf(longest), 'from 0');
      await assert.rejects(
        listen(`${longest}a`),
        refused('ERR_SOCKET', /has 108 bytes, at most 107/),
      );
      assert.deepEqual(readdirSync(folder), [name + 'a'.repeat(room)]);
    });

    it('may fill all 107 bytes with its folder, but for two', async () => {
      const room = MAX_SOCKET_PATH_BYTES - folder.length - 4;
      const deep = join(folder, 'd'.repeat(room));
      const path = join(deep, 'ab');
      assert.equal(path.length, 107);
      await listen(path);
      assert.equal(await answerOf(path), 'from 0');
      assert.deepEqual(readdirSync(folder), ['d'.repeat(room)], 'nothing outside its folder');
    });

    it('may be relative to the working folder', async () => {
      const path = relative(process.cwd(), join(folder, 'api.sock'));
      await listen(path);
      assert.equal(await answerOf(join(folder, 'api.sock')), 'from 0');
    });

    for (const [what, path] of [
      ['ends in a slash', 'api.sock/'],
      ['holds a zero byte, as an abstract name would', 'api\0sock'],
    ] as const) {
      it(`is refused when it ${what}`, async () => {
        await assert.rejects(listen(`${folder}/${path}`), refused('ERR_SOCKET', /names no file/));
        assert.deepEqual(readdirSync(folder), []);
      });
    }

    it('is refused, and left alone, when something else than a socket is there', async () => {
      const path = join(folder, 'api.sock');
      writeFileSync(path, 'precious');
      await assert.rejects(listen(path), refused('ERR_SOCKET', /exists and is not a socket/));
      assert.equal(readFileSync(path, 'utf8'), 'precious');
      unlinkSync(path);
      symlinkSync('/nowhere', path);
      await assert.rejects(listen(path), refused('ERR_SOCKET', /exists and is not a socket/));
      unlinkSync(path);
      mkdirSync(path);
      await assert.rejects(listen(path), refused('ERR_SOCKET', /exists and is not a socket/));
    });
  });

  describe('another daemon', () => {
    it('is told from a stale file, which is replaced', async () => {
      const path = join(folder, 'api.sock');
      leaveStale(path);
      await listen(path);
      assert.equal(await answerOf(path), 'from 0');
      assert.deepEqual(readdirSync(folder), ['api.sock']);
    });

    it('keeps its socket, and the second one is told', async () => {
      const path = join(folder, 'api.sock');
      await listen(path);
      await assert.rejects(
        listen(path),
        refused('ERR_ALREADY_RUNNING', /another credence is running/),
      );
      assert.equal(servers[1]?.listening, false);
      assert.equal(await answerOf(path), 'from 0');
      assert.deepEqual(readdirSync(folder), ['api.sock']);
    });

    for (const start of ['no file', 'a stale file'] as const) {
      it(`that starts in the same moment gets the path or is told, from ${start}`, async () => {
        const path = join(folder, 'api.sock');
        for (let round = 0; round < 10; round++) {
          if (start === 'a stale file') leaveStale(path);
          const base = servers.length;
          const results = await Promise.allSettled(Array.from({ length: 4 }, () => listen(path)));
          const winners = results.flatMap(({ status }, n) => (status === 'fulfilled' ? [n] : []));
          assert.equal(winners.length, 1, `round ${round}: one owner`);
          assert.equal(await answerOf(path), `from ${base + (winners[0] ?? -1)}`);
          for (const result of results) {
            if (result.status === 'rejected')
              refused('ERR_ALREADY_RUNNING', /running/)(result.reason);
          }
          assert.deepEqual(readdirSync(folder), ['api.sock']);
          for (const result of results) if (result.status === 'fulfilled') result.value.close();
        }
      });
    }
  });

  describe('close()', () => {
    it('takes the file away', async () => {
      const path = join(folder, 'api.sock');
      (await listen(path)).close();
      assert.equal(existsSync(path), false);
    });

    it('leaves what somebody else has put in its place, be it a socket or nothing', async () => {
      const path = join(folder, 'api.sock');
      const first = await listen(path);
      unlinkSync(path);
      await listen(path);
      first.close();
      assert.equal(await answerOf(path), 'from 1');
      renameSync(path, `${path}.old`);
      first.close();
      assert.ok(existsSync(`${path}.old`));
    });
  });

  describe('mode', () => {
    it('is final from the moment the name can be seen', async () => {
      const path = join(folder, 'api.sock');
      // Another process looks as fast as it can and prints each mode it sees under the name.
      const look = `
import os, sys
print("looking", flush=True)
seen = set()
last = False
while not last:
    last = os.path.exists(sys.argv[2])
    try: seen.add(oct(os.lstat(sys.argv[1]).st_mode & 0o7777))
    except FileNotFoundError: pass
print(sorted(seen), flush=True)`;
      const end = join(folder, 'end');
      const watcher = spawn(PYTHON, ['-c', look, path, end], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let text = '';
      watcher.stdout.on('data', (part: Buffer) => (text += part.toString()));
      await once(watcher.stdout, 'data');
      const umask = process.umask(0o077);
      try {
        for (let round = 0; round < 20; round++) (await listen(path, { mode: 0o777 })).close();
        await listen(path, { mode: 0o777 });
      } finally {
        process.umask(umask);
      }
      writeFileSync(end, '');
      await once(watcher, 'close');
      assert.equal(text, "looking\n['0o777']\n");
    });

    it('may be for the owner alone, whatever the umask', async () => {
      const path = join(folder, 'admin.sock');
      const umask = process.umask(0);
      try {
        await listen(path, { mode: 0o600 });
      } finally {
        process.umask(umask);
      }
      assert.equal(statSync(path).mode & 0o7777, 0o600);
    });
  });

  describe('folder', () => {
    it('is made with the mode that was asked for, those above it for all to enter', async () => {
      const umask = process.umask(0o077);
      try {
        await listen(join(folder, 'run', 'private', 'admin.sock'), { folderMode: 0o700 });
      } finally {
        process.umask(umask);
      }
      assert.equal(statSync(join(folder, 'run', 'private')).mode & 0o7777, 0o700);
      assert.equal(statSync(join(folder, 'run')).mode & 0o7777, 0o755);
    });

    it('keeps its own mode when it is there already', async () => {
      chmodSync(folder, 0o750);
      await listen(join(folder, 'api.sock'));
      assert.equal(statSync(folder).mode & 0o7777, 0o750);
    });

    it('is refused when everybody may write it, also when it is sticky', async () => {
      for (const mode of [0o777, 0o1777]) {
        chmodSync(folder, mode);
        const shown = mode.toString(8).padStart(4, '0');
        await assert.rejects(
          listen(join(folder, 'api.sock')),
          refused('ERR_SOCKET', new RegExp(`may be written by everybody \\(mode ${shown}\\)`)),
        );
      }
      assert.deepEqual(readdirSync(folder), []);
    });

    it('is to be closed where it is one for the socket alone, and left alone where it is shared', async () => {
      const own = 'give the socket a folder of its own';
      for (const [mode, hint] of [
        [0o777, `${own}, or: chmod go-w ${folder}`],
        [0o1777, own],
      ] as const) {
        chmodSync(folder, mode);
        await assert.rejects(listen(join(folder, 'api.sock')), { code: 'ERR_SOCKET', hint });
      }
      for (const shared of ['/srv', '/var/run', '/dev/shm']) {
        assert.equal(openFolderHint(shared, { mode: 0o777 }), own);
      }
    });

    it('is refused when a folder above it may be written by everybody, unless that is sticky', async () => {
      const open = join(folder, 'open');
      mkdirSync(join(open, 'run'), { recursive: true });
      chmodSync(open, 0o777);
      const path = join(open, 'run', 'api.sock');
      await assert.rejects(
        listen(path),
        refused('ERR_SOCKET', /open of the socket may be written/),
      );
      chmodSync(open, 0o1777);
      await listen(path);
    });

    it('is refused when a link leads to where everybody may write', async () => {
      const open = join(folder, 'open');
      mkdirSync(join(open, 'run'), { recursive: true });
      chmodSync(open, 0o777);
      symlinkSync(join(open, 'run'), join(folder, 'link'));
      await assert.rejects(
        listen(join(folder, 'link', 'api.sock')),
        refused('ERR_SOCKET', /may be written by everybody/),
      );
    });

    it('is refused when it cannot be made', async () => {
      writeFileSync(join(folder, 'file'), '');
      await assert.rejects(listen(join(folder, 'file', 'api.sock')), { code: 'ERR_SOCKET' });
      await assert.rejects(listen(join(folder, 'file', 'a', 'api.sock')), { code: 'ERR_SOCKET' });
      await assert.rejects(listen('/proc/credence/api.sock'), { code: 'ERR_SOCKET' });
    });
  });
});
