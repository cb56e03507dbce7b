import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { giveBackAtRest, type Memory } from './give-back.ts';

const LOOK_MS = 5000;

/** A process that works as much as it is told to. */
class FakeMemory implements Memory {
  /** What others have it do in each look. */
  load = 0;
  /** What others have it do while it collects. */
  meanwhile = 0;
  readonly did: string[] = [];
  /** Ends the collection that is going on. */
  collected: () => void = () => undefined;
  #own = 0;
  worked(): number {
    const own = this.#own;
    this.#own = 0;
    return this.load + own;
  }
  collect(): Promise<void> {
    this.did.push('collect');
    this.#own += 0.9;
    return new Promise((resolve) => (this.collected = resolve));
  }
  trim(): void {
    this.did.push('trim');
    this.#own += this.meanwhile;
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
    /** Some looks with this to do in each. */
    const looks = async (count: number, load: number) => {
      memory.load = load;
      await clock.advance(count * LOOK_MS);
    };
    const collected = async () => {
      memory.collected();
      await settle();
    };
    return { clock, memory, looks, collected };
  }

  it('collects twice and trims, in this order, when rest follows work', async () => {
    const { memory, looks, collected } = start();
    await looks(1, 0);
    await looks(3, 9);
    assert.deepEqual(memory.did, []);
    await looks(1, 0.1);
    assert.deepEqual(memory.did, ['collect']);
    await collected();
    assert.deepEqual(memory.did, ['collect', 'collect']);
    await collected();
    assert.deepEqual(memory.did, ALL);
  });

  it('does nothing after the start alone, nor at rest', async () => {
    const { memory, looks } = start();
    await looks(1, 9);
    await looks(100, 0.5);
    assert.deepEqual(memory.did, []);
  });

  it('does nothing while work goes on', async () => {
    const { memory, looks } = start();
    await looks(100, 1.1);
    assert.deepEqual(memory.did, []);
  });

  it('does it once, whatever it takes itself, and again after further work', async () => {
    const { memory, looks, collected } = start();
    await looks(2, 9);
    await looks(1, 0);
    await collected();
    await collected();
    await looks(100, 0.5);
    assert.deepEqual(memory.did, ALL);
    await looks(1, 9);
    await looks(1, 0);
    await collected();
    await collected();
    assert.deepEqual(memory.did, [...ALL, ...ALL]);
  });

  it('does it again after work that came meanwhile', async () => {
    const { memory, looks, collected } = start();
    await looks(2, 9);
    await looks(1, 0);
    memory.meanwhile = 9;
    await collected();
    await collected();
    await looks(1, 0);
    await collected();
    await collected();
    assert.deepEqual(memory.did, [...ALL, ...ALL]);
  });

  it('leaves no timer behind and touches nothing more once it has ended', async () => {
    const { clock, memory, looks, collected } = start();
    await looks(2, 9);
    await looks(1, 0);
    end();
    await collected();
    await collected();
    await looks(10, 9);
    assert.equal(clock.timers, 0);
    assert.ok(!memory.did.includes('trim'));
  });
});
