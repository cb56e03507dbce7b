import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createMintTurns, type MintTurns } from './mint-turns.ts';

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A maker of one thing after the other, in the order it is asked. */
function queue() {
  const waiting: { readonly name: string; readonly done: () => void }[] = [];
  return {
    make: (name: string) => new Promise<void>((done) => waiting.push({ name, done })),
    async finish(): Promise<string | undefined> {
      const first = waiting.shift();
      first?.done();
      await nextTurn();
      return first?.name;
    },
  };
}

function takeMany(
  turns: MintTurns,
  holder: string,
  count: number,
  task: (n: number) => Promise<void>,
): void {
  for (let n = 0; n < count; n++) turns.take(holder, () => task(n));
}

describe('createMintTurns()', () => {
  it('begins at once what one asks for alone', () => {
    const turns = createMintTurns();
    const begun: string[] = [];
    for (const holder of ['a', 'b', 'c']) {
      turns.take(holder, () => {
        begun.push(holder);
        return Promise.resolve();
      });
    }
    assert.deepEqual(begun, ['a', 'b', 'c']);
  });

  it('spreads what one asks for in one go over turns of the event loop', async () => {
    const turns = createMintTurns();
    const begun: number[] = [];
    takeMany(turns, 'a', 100, (n) => {
      begun.push(n);
      return Promise.resolve();
    });
    const seen: number[] = [];
    for (let turn = 0; turn < 4; turn++) {
      // All that can happen within this turn.
      for (let n = 0; n < 1000; n++) await Promise.resolve();
      seen.push(begun.length);
      await nextTurn();
    }
    assert.deepEqual(seen, [32, 64, 96, 100]);
    assert.deepEqual(
      begun,
      Array.from({ length: 100 }, (_, n) => n),
    );
  });

  it('gives one holder a turn at a time, all of them in a circle', async () => {
    const turns = createMintTurns();
    let begun: string[] = [];
    const names = ['a', 'b', 'c'];
    for (const name of names) {
      takeMany(turns, name, 200, () => {
        begun.push(name);
        return Promise.resolve();
      });
    }
    const circle: string[] = [];
    for (let n = 0; n < 1000; n++) await Promise.resolve();
    for (let turn = 0; turn < 6; turn++) {
      begun = [];
      await nextTurn();
      assert.ok(begun.length <= 32, `${begun.length} in one turn`);
      circle.push([...new Set(begun)].join());
    }
    assert.deepEqual(circle, [...names, ...names]);
  });

  it('lets who comes later to a slow maker wait for few of another', async () => {
    const turns = createMintTurns();
    const maker = queue();
    takeMany(turns, 'greedy', 1000, (n) => maker.make(`greedy ${n}`));
    turns.take('late', () => maker.make('late'));
    const made: (string | undefined)[] = [];
    while (made.at(-1) !== 'late') made.push(await maker.finish());
    assert.ok(made.length <= 5, made.join());
    // And nobody is forgotten over it.
    for (let n = made.length; n < 1001; n++) assert.match((await maker.finish()) ?? '', /greedy/);
    assert.equal(await maker.finish(), undefined);
  });

  it('lets holders take turns at a slow maker', async () => {
    const turns = createMintTurns();
    const maker = queue();
    for (const name of ['a', 'b']) takeMany(turns, name, 50, () => maker.make(name));
    const made: (string | undefined)[] = [];
    for (let n = 0; n < 40; n++) made.push(await maker.finish());
    const ofA = made.filter((name) => name === 'a').length;
    assert.ok(Math.abs(ofA - 20) <= 4, made.join());
  });

  it('begins what is asked for while one rests, in order', async () => {
    const turns = createMintTurns();
    const begun: number[] = [];
    const task = (n: number) => {
      begun.push(n);
      return Promise.resolve();
    };
    takeMany(turns, 'a', 32, task);
    for (let n = 0; n < 1000; n++) await Promise.resolve();
    turns.take('a', () => task(32));
    assert.equal(begun.length, 32);
    await nextTurn();
    assert.equal(begun.at(-1), 32);
  });
});
