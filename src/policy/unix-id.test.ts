import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { unixIdFault } from './unix-id.ts';

describe('unixIdFault()', () => {
  for (const [value, fault] of [
    ['', 'unix:uid has no value: write a number, as in unix:uid:1000'],
    ['-1', 'unix:uid takes a number from 0 to 4294967294, got "-1"'],
    ['4294967295', 'unix:uid takes a number from 0 to 4294967294, got "4294967295"'],
    ['4294967296', 'unix:uid takes a number from 0 to 4294967294, got "4294967296"'],
    ['0:1', 'unix:uid takes a number from 0 to 4294967294, got "0:1"'],
    ['0 ', 'unix:uid takes a number, and "0 " has a blank'],
    ['root', 'unix:uid takes a number: a name such as "root" goes with unix:user'],
  ] as const) {
    it(`names what is wrong with "${value}"`, () => assert.equal(unixIdFault('uid', value), fault));
  }

  it('names the kind that takes the name of a group', () => {
    assert.match(unixIdFault('gid', 'web') ?? '', /goes with unix:group$/);
    assert.match(
      unixIdFault('supplementary_gid', 'web') ?? '',
      /goes with unix:supplementary_group$/,
    );
  });

  it('says nothing of an id', () => {
    for (const value of ['0', '1000', '4294967294'])
      assert.equal(unixIdFault('gid', value), undefined);
  });
});
