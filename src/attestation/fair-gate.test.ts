import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import { describe, it } from 'node:test';
import { settle } from '../../test/support/fake-clock.ts';
import { createFairGate } from './fair-gate.ts';

const never = new AbortController().signal;
// All who wait in these tests share it.
setMaxListeners(0, never);

/** Work that ends when it is told to, and the order in which it began. */
function createWork() {
  const begun: string[] = [];
  const ends = new Map<string, { resolve: () => void; reject: (error: Error) => void }>();
  return {
    begun,
    work: (name: string) => () => {
      begun.push(name);
      return new Promise<void>((resolve, reject) => ends.set(name, { resolve, reject }));
    },
    end: async (name: string) => {
      ends.get(name)?.resolve();
      await settle();
    },
    fail: async (name: string) => {
      ends.get(name)?.reject(new Error('failed'));
      await settle();
    },
  };
}

describe('createFairGate()', () => {
  it('does one work of a party at a time and as many as there are places', async () => {
    const gate = createFairGate(2);
    const { begun, work, end } = createWork();
    for (const name of ['a1', 'a2', 'b1', 'c1']) {
      void gate.run(name.charCodeAt(0), work(name), never);
    }
    await settle();
    assert.deepEqual(begun, ['a1', 'b1']);
    await end('b1');
    assert.deepEqual(begun, ['a1', 'b1', 'c1']);
    await end('a1');
    assert.deepEqual(begun, ['a1', 'b1', 'c1', 'a2']);
  });

  it('lets a newcomer in after one work of a crowd, not after all of it', async () => {
    const gate = createFairGate(1);
    const { begun, work, end } = createWork();
    for (let n = 0; n < 100; n++) void gate.run(1, work(`crowd ${n}`), never);
    void gate.run(2, work('newcomer'), never);
    await settle();
    await end('crowd 0');
    assert.deepEqual(begun, ['crowd 0', 'crowd 1']);
    await end('crowd 1');
    assert.deepEqual(begun.at(-1), 'newcomer');
  });

  it('gives the place of failed work to the next, and its error to who asked', async () => {
    const gate = createFairGate(1);
    const { begun, work, fail, end } = createWork();
    const failing = assert.rejects(gate.run(1, work('first'), never), /failed/);
    const second = gate.run(1, work('second'), never);
    await settle();
    await fail('first');
    await failing;
    assert.deepEqual(begun, ['first', 'second']);
    await end('second');
    await second;
  });

  it('never begins what was called off while it waited', async () => {
    const gate = createFairGate(1);
    const { begun, work, end } = createWork();
    const cancel = new AbortController();
    void gate.run(1, work('first'), never);
    const waiting = assert.rejects(gate.run(2, work('second'), cancel.signal), /enough/);
    await assert.rejects(gate.run(2, work('late'), AbortSignal.abort(new Error('no'))), /no/);
    cancel.abort(new Error('enough'));
    await waiting;
    void gate.run(2, work('third'), never);
    await settle();
    await end('first');
    assert.deepEqual(begun, ['first', 'third']);
  });

  it('lets who asked go at once, but gives the place away only when the work has ended', async () => {
    const gate = createFairGate(1);
    const { begun, work, end } = createWork();
    const cancel = new AbortController();
    const stuck = assert.rejects(gate.run(1, work('stuck'), cancel.signal), /too long/);
    void gate.run(2, work('next'), never);
    await settle();
    cancel.abort(new Error('too long'));
    await stuck;
    await settle();
    assert.deepEqual(begun, ['stuck']);
    await end('stuck');
    assert.deepEqual(begun, ['stuck', 'next']);
  });

  it('gives the place away when the work throws before it has begun', async () => {
    const gate = createFairGate(1);
    const { begun, work } = createWork();
    const failing = gate.run(
      1,
      () => {
        throw new Error('at once');
      },
      never,
    );
    await assert.rejects(failing, /at once/);
    void gate.run(1, work('next'), never);
    await settle();
    assert.deepEqual(begun, ['next']);
  });
});
