// Folders of other users and groups. Needs root.
import assert from 'node:assert/strict';
import { chmod, chown, mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, before, beforeEach, describe, it } from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import { listenOnSocket } from '../../src/core/unix-socket.ts';

describe("the folder of a socket among other users' folders", () => {
  let folder: string;
  before(() => assert.equal(process.getuid?.(), 0, 'these tests change owners: run them as root'));
  beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), 'credence-socket-'))));
  afterEach(() => rm(folder, { recursive: true, force: true }));

  async function listens(): Promise<void> {
    const server = createServer();
    const path = join(folder, 'api.sock');
    const socket = { path, mode: 0o777, folderMode: 0o755, clock: systemClock };
    const bound = await listenOnSocket(server, socket);
    bound.close();
    server.close();
  }

  it('may be written by its owner and a group of root', async () => {
    await chmod(folder, 0o770);
    await listens();
  });

  it('is refused when a foreign group may write it, and fine when that may only read', async () => {
    await chown(folder, 0, 4242);
    await chmod(folder, 0o770);
    await assert.rejects(listens(), {
      code: 'ERR_SOCKET',
      message: /may be written by group 4242 \(mode 0770\)/,
    });
    assert.deepEqual(await readdir(folder), []);
    await chmod(folder, 0o750);
    await listens();
  });

  it('is refused when it belongs to another user, who could change its mode', async () => {
    await chown(folder, 4242, 0);
    await chmod(folder, 0o755);
    await assert.rejects(listens(), { code: 'ERR_SOCKET', message: /belongs to uid 4242/ });
    assert.deepEqual(await readdir(folder), []);
  });

  it('may be out of reach at the end: the file stays, nothing is thrown', async () => {
    const server = createServer();
    const path = join(folder, 'api.sock');
    const socket = { path, mode: 0o777, folderMode: 0o755, clock: systemClock };
    const bound = await listenOnSocket(server, socket);
    process.seteuid?.(4242);
    try {
      assert.doesNotThrow(() => bound.close());
    } finally {
      process.seteuid?.(0);
    }
    assert.deepEqual(await readdir(folder), ['api.sock']);
    server.close();
  });

  it('is refused to a daemon that may not enter it', async () => {
    await chown(folder, 0, 0);
    await chmod(folder, 0o700);
    process.setegid?.(4242);
    process.seteuid?.(4242);
    try {
      await assert.rejects(listens(), { code: 'ERR_SOCKET', message: /EACCES/ });
    } finally {
      process.seteuid?.(0);
      process.setegid?.(0);
    }
  });
});
