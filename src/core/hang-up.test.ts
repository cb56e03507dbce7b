import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, it, type TestContext } from 'node:test';
import { hasHungUp } from './hang-up.ts';

/** Both ends of a connection; the accepted one is not read. */
async function pair(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'credence-hang-'));
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
  server.listen(join(folder, 'sock'));
  await once(server, 'listening');
  const client = connect({ path: join(folder, 'sock'), allowHalfOpen: true });
  const [accepted] = (await once(server, 'connection')) as [Socket];
  t.after(() => {
    client.destroy();
    accepted.destroy();
    server.close();
    rmSync(folder, { recursive: true });
  });
  const handle: unknown = Reflect.get(accepted, '_handle');
  assert.ok(typeof handle === 'object' && handle !== null);
  return { client, fd: Number(Reflect.get(handle, 'fd')) };
}

describe('hasHungUp()', () => {
  it('is false while the other end is open, with or without something to read', async (t) => {
    const { client, fd } = await pair(t);
    assert.equal(hasHungUp(fd), false);
    await new Promise((resolve) => client.write('something', resolve));
    assert.equal(hasHungUp(fd), false);
  });

  it('is false when the other end only says no more: it may still listen', async (t) => {
    const { client, fd } = await pair(t);
    await new Promise((resolve) => client.end('last words', () => resolve(undefined)));
    assert.equal(hasHungUp(fd), false);
  });

  it('is true once the other end is closed, whatever lies unread', async (t) => {
    const { client, fd } = await pair(t);
    await new Promise((resolve) => client.write('something', resolve));
    client.destroy();
    await once(client, 'close');
    for (let n = 0; n < 100 && !hasHungUp(fd); n++) await nextTurn();
    assert.equal(hasHungUp(fd), true);
  });

  it('is false for what is no descriptor', () => {
    assert.equal(hasHungUp(-1), false);
  });
});
