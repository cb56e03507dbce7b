import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock, settle } from '../test/support/fake-clock.ts';
import { createHearing } from './cluster-hearing.ts';

type Subject = 'ids' | 'entries' | 'node';

function setUp() {
  const clock = new FakeClock();
  const changed: Subject[] = [];
  const hearing = createHearing<Subject>(clock, (subject) => changed.push(subject));
  const done = { all: false, entries: false };
  void hearing.all.then(() => (done.all = true));
  void hearing.these('entries').then(() => (done.entries = true));
  const are = async () => {
    await settle();
    return [done.all, done.entries];
  };
  return { clock, hearing, changed, are };
}

describe('createHearing()', () => {
  it('waits for all that is expected, or for one of them', async () => {
    const { hearing, are, changed } = setUp();
    hearing.expect('ids');
    hearing.expect('entries');
    hearing.begin();
    assert.deepEqual(await are(), [false, false]);
    hearing.of('entries').heard();
    assert.deepEqual(await are(), [false, true]);
    hearing.of('ids').heard();
    hearing.of('ids').heard();
    assert.deepEqual(await are(), [true, true]);
    assert.deepEqual(changed, ['entries', 'ids']);
  });

  it('waits for nothing that nobody follows', async () => {
    const { hearing, are } = setUp();
    assert.deepEqual(await are(), [false, false]);
    hearing.begin();
    assert.deepEqual(await are(), [true, true]);
  });

  it('waits too for what is needed by what it has just heard of', async () => {
    const clock = new FakeClock();
    const hearing = createHearing<Subject>(clock, () => hearing.expect('node'));
    let done = false;
    void hearing.all.then(() => (done = true));
    hearing.expect('ids');
    hearing.begin();
    hearing.of('ids').heard();
    await settle();
    assert.equal(done, false);
    hearing.of('node').heard();
    await settle();
    assert.equal(done, true);
  });

  it('keeps nobody waiting for longer than 10 s, and takes nothing for known then', async () => {
    const { clock, hearing, are } = setUp();
    hearing.expect('ids');
    hearing.begin();
    await clock.advance(9_999);
    assert.deepEqual(await are(), [false, true]);
    await clock.advance(1);
    assert.deepEqual(await are(), [true, true]);
    assert.equal(hearing.knows('ids'), false);
  });

  it('knows that there is nothing where there is no such collection, not where it is forbidden', async () => {
    const { hearing, are, changed } = setUp();
    hearing.expect('ids');
    hearing.expect('entries');
    hearing.begin();
    hearing.of('ids').refused?.('absent');
    hearing.of('entries').refused?.('forbidden');
    assert.deepEqual(await are(), [true, true]);
    assert.deepEqual([hearing.knows('ids'), hearing.knows('entries')], [true, false]);
    assert.deepEqual(changed, ['ids']);
  });

  it('is worth a wait for 15 s, that of a right too, and says when that is over', async () => {
    const { clock, hearing, changed } = setUp();
    assert.equal(hearing.awaits('node'), false);
    assert.equal(hearing.expect('node'), true);
    assert.equal(hearing.expect('node'), false);
    hearing.of('node').refused?.('forbidden');
    await clock.advance(14_999);
    assert.equal(hearing.awaits('node'), true);
    await clock.advance(1);
    assert.equal(hearing.awaits('node'), false);
    assert.deepEqual(changed, ['node']);
    hearing.of('node').heard();
    assert.deepEqual([hearing.knows('node'), changed], [true, ['node', 'node']]);
  });

  it('leaves no timer behind', () => {
    const { clock, hearing } = setUp();
    hearing.expect('ids');
    hearing.close();
    assert.equal(clock.timers, 0);
  });
});
