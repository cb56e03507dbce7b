import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { createFollowers } from './followers.ts';

describe('createFollowers()', () => {
  it('lets the followers of a pod look when it has changed, and no others', async () => {
    const looks: string[] = [];
    const followers = createFollowers(new FakeClock(), assert.ifError);
    followers.add('a', () => looks.push('a'));
    followers.add('b', () => looks.push('b'));
    followers.changed('a');
    followers.changed('a');
    followers.changed('c');
    await settle();
    assert.deepEqual(looks, ['a']);
  });

  it('goes on with the others when one fails', async () => {
    const failures: unknown[] = [];
    const followers = createFollowers(new FakeClock(), (thrown) => failures.push(thrown));
    let looks = 0;
    followers.add('a', () => {
      throw new Error('broken');
    });
    followers.add('a', () => looks++);
    followers.changed('a');
    await settle();
    assert.deepEqual([looks, failures.length], [1, 1]);
  });

  it('follows again for one that comes after the last has stopped', async () => {
    let looks = 0;
    const followers = createFollowers(new FakeClock(), assert.ifError);
    const first = followers.add('a', () => assert.fail());
    first.stop();
    followers.add('a', () => looks++);
    first.stop();
    followers.changed('a');
    await settle();
    assert.equal(looks, 1);
  });

  it('lets a pod wait for one process of each other pod, however many another one has', async () => {
    const looks: string[] = [];
    const followers = createFollowers(new FakeClock(), assert.ifError);
    for (let n = 0; n < 1000; n++) followers.add('many', () => looks.push('many'));
    for (let n = 0; n < 2; n++) followers.add('few', () => looks.push('few'));
    followers.changed('many');
    followers.changed('few');
    await settle();
    assert.deepEqual(looks.slice(0, 4), ['many', 'few', 'many', 'few']);
  });
});
