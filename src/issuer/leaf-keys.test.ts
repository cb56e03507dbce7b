import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { describe, it } from 'node:test';
import { KEY_TYPES, type KeyType } from './key-type.ts';
import { createLeafKeySource, type LeafKey } from './leaf-keys.ts';
import { createLimiter } from './limiter.ts';
import { subjectKeyId } from './subject-key-id.ts';

/** Both parts as OpenSSL writes them itself. */
function reencode(key: LeafKey): LeafKey {
  const privateKey = createPrivateKey({ key: key.pkcs8, format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
  return { spki, pkcs8: privateKey.export({ type: 'pkcs8', format: 'der' }) };
}

describe('createLeafKeySource()', () => {
  for (const type of ['ec-p256', 'ec-p384'] as const) {
    it(`writes ${type} keys as OpenSSL does, those with leading zeros included`, async () => {
      const source = createLeafKeySource(type);
      const row = KEY_TYPES[type];
      assert.ok(row.kind === 'ec');
      let short = 0;
      // One scalar in 256 starts with a zero byte, so 3,000 keys without one do not happen.
      for (let n = 0; n < 20_000 && short === 0; n++) {
        const key = await source({});
        const zero = key.pkcs8[row.pkcs8Prefix.length] === 0;
        if (zero) short++;
        if (zero || n < 50) assert.deepEqual(reencode(key), key);
      }
      assert.ok(short > 0);
    });
  }

  for (const type of ['rsa-2048', 'rsa-3072', 'rsa-4096'] as const satisfies KeyType[]) {
    it(`makes ${type} keys off the event loop`, async () => {
      let turns = 0;
      const ticking = setInterval(() => turns++, 1);
      const key = await createLeafKeySource(type)({});
      clearInterval(ticking);
      assert.deepEqual(reencode(key), key);
      assert.ok(turns > 0);
    });
  }

  it('gives every call another key', async () => {
    const source = createLeafKeySource('ec-p256');
    const ids = new Set<string>();
    for (let n = 0; n < 100; n++) ids.add(subjectKeyId((await source({})).spki).toString('hex'));
    assert.equal(ids.size, 100);
  });
});

describe('createLimiter()', () => {
  function openTask() {
    let finish: () => void = () => undefined;
    const done = new Promise<void>((resolve) => (finish = resolve));
    return { task: () => done, finish };
  }

  it('runs no more than the limit, the others in order', async () => {
    const limiter = createLimiter(2);
    const order: number[] = [];
    const tasks = [0, 1, 2, 3].map(openTask);
    const runs = tasks.map(({ task }, n) =>
      limiter.run(() => {
        order.push(n);
        return task();
      }, {}),
    );
    await Promise.resolve();
    assert.deepEqual(order, [0, 1]);
    tasks[1]?.finish();
    await runs[1];
    assert.deepEqual(order, [0, 1, 2]);
    for (const { finish } of tasks) finish();
    await Promise.all(runs);
    assert.deepEqual(order, [0, 1, 2, 3]);
  });

  it('lets the next one in when a task fails', async () => {
    const limiter = createLimiter(1);
    const failing = limiter.run(() => Promise.reject(new Error('broken')), {});
    const next = limiter.run(() => Promise.resolve('ran'), {});
    await assert.rejects(failing, /broken/);
    assert.equal(await next, 'ran');
  });

  it('drops a waiting task whose signal is aborted, and keeps its place for the next', async () => {
    const limiter = createLimiter(1);
    const first = openTask();
    const running = limiter.run(first.task, {});
    const abort = new AbortController();
    const waiting = limiter.run(() => assert.fail('ran'), { signal: abort.signal });
    const next = limiter.run(() => Promise.resolve('ran'), {});
    abort.abort(new Error('gone'));
    await assert.rejects(waiting, /gone/);
    await assert.rejects(limiter.run(first.task, { signal: abort.signal }), /gone/);
    first.finish();
    await running;
    assert.equal(await next, 'ran');
  });
});
