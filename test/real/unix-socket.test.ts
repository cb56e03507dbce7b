// Folders of other users and groups. Needs root.
import assert from 'node:assert/strict';
import { chmod, chown, mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
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

  async function listens(...below: readonly string[]): Promise<readonly string[]> {
    const server = createServer();
    const path = join(folder, ...below, 'api.sock');
    const socket = { path, mode: 0o777, folderMode: 0o755, clock: systemClock };
    const bound = await listenOnSocket(server, socket);
    bound.close();
    server.close();
    return bound.doubts;
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

  it('may stand in a folder of another user, of which the caller is told', async () => {
    await chown(folder, 4242, 4242);
    await chmod(folder, 0o755);
    const said = `folder ${folder} of the socket belongs to uid 4242 (mode 0755): another user could replace the socket`;
    assert.deepEqual(await listens('run', 'credence'), [said]);
    assert.deepEqual(await listens('run', 'credence'), [said], 'also when it is there already');
    await chmod(folder, 0o1755);
    assert.match(
      String(await listens('run')),
      /uid 4242 \(mode 1755\)/,
      'the owner may do it still',
    );
  });

  it('may stand in a folder that a foreign group may write, of which the caller is told', async () => {
    await chown(folder, 0, 4242);
    await chmod(folder, 0o775);
    assert.match(String(await listens('run')), /may be written by group 4242 \(mode 0775\)/);
    await chmod(folder, 0o1775);
    assert.deepEqual(await listens('run'), [], 'sticky: the group cannot rename it');
  });

  it('is told of where a link leads through', async () => {
    await mkdir(join(folder, 'theirs', 'ours'), { recursive: true });
    await symlink(join(folder, 'theirs', 'ours'), join(folder, 'run'));
    await chown(join(folder, 'theirs'), 4242, 0);
    assert.match(
      String(await listens('run')),
      /folder \S+\/theirs of the socket belongs to uid 4242/,
    );
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
