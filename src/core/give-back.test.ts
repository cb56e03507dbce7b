import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { giveBackAtRest, type Memory } from './give-back.ts';

const LOOK_MS = 5000;

/** A process that works as much as it is told to. */
class FakeMemory implements Memory {
  /** Share of each look. */
  load = 0;
  readonly did: string[] = [];
  /** Collections take until this is called. */
  collected: () => void = () => undefined;
  /** What collecting and trimming itself costs in the next look. */
  ownWork = 0;
  worked(): number {
    const own = this.ownWork;
    this.ownWork = 0;
    return this.load + own;
  }
  collect(): Promise<void> {
    this.did.push('collect');
    return new Promise((resolve) => (this.collected = resolve));
  }
  trim(): void {
    this.did.push('trim');
    this.ownWork = 0.5;
  }
}

const ALL = ['collect', 'collect', 'trim'];

describe('giveBackAtRest()', () => {
  let end: () => unknown = () => undefined;
  afterEach(() => end());
  function start() {
    const clock = new FakeClock();
    const memory = new FakeMemory();
    end = giveBackAtRest(clock, memory);
    return {
      clock,
      memory,
      /** Some looks at this load. */
      looks: async (count: number, load: number) => {
        memory.load = load;
        await clock.advance(count * LOOK_MS);
      },
      collected: async () => {
        memory.collected();
        await settle();
      },
    };
  }

  it('collects twice and trims, in this order, when rest follows work', async () => {
    const { memory, looks, collected } = start();
    await looks(1, 0);
    await looks(3, 0.3);
    assert.deepEqual(memory.did, []);
    await looks(1, 0.002);
    assert.deepEqual(memory.did, ['collect']);
    await collected();
    assert.deepEqual(memory.did, ['collect', 'collect']);
    await collected();
    assert.deepEqual(memory.did, ALL);
  });

  it('does nothing after the start alone, nor at rest', async () => {
    const { memory, looks } = start();
    await looks(1, 0.9);
    await looks(100, 0.002);
    assert.deepEqual(memory.did, []);
  });

  it('does nothing while work goes on', async () => {
    const { memory, looks } = start();
    await looks(100, 0.02);
    assert.deepEqual(memory.did, []);
  });

  it('does it once, whatever it takes itself, and again after further work', async () => {
    const { memory, looks, collected } = start();
    await looks(2, 0.3);
    await looks(1, 0);
    await collected();
    await collected();
    await looks(100, 0);
    assert.deepEqual(memory.did, ALL);
    await looks(1, 0.3);
    await looks(1, 0);
    await collected();
    await collected();
    assert.deepEqual(memory.did, [...ALL, ...ALL]);
  });

  it('leaves no timer behind and touches nothing more once it has ended', async () => {
    const { clock, memory, looks, collected } = start();
    await looks(2, 0.3);
    await looks(1, 0);
    end();
    await collected();
    await collected();
    await looks(10, 0.3);
    assert.equal(clock.timers, 0);
    assert.ok(!memory.did.includes('trim'));
  });
});
