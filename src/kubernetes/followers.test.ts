import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { settle } from '../../test/support/fake-clock.ts';
import { createFollowers } from './followers.ts';

describe('createFollowers()', () => {
  it('lets the followers of a pod look when it has changed, and no others', async () => {
    const looks: string[] = [];
    const followers = createFollowers(assert.ifError);
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
    const followers = createFollowers((thrown) => failures.push(thrown));
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
    const followers = createFollowers(assert.ifError);
    const first = followers.add('a', () => assert.fail());
    first.stop();
    followers.add('a', () => looks++);
    first.stop();
    followers.changed('a');
    await settle();
    assert.equal(looks, 1);
  });
});
