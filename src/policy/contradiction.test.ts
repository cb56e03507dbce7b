import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseSelector } from '../identity/selector.ts';
import { contradiction } from './contradiction.ts';

const MACHINE = {
  users: new Map([
    ['a', new Set([1])],
    ['daemon', new Set([1, 7])],
  ]),
  groups: new Map([['a', new Set([2])]]),
};
const judge = (...texts: string[]) => contradiction(texts.map(parseSelector), MACHINE);

describe('contradiction()', () => {
  for (const [one, other] of [
    ['unix:uid:1', 'unix:uid:2'],
    ['unix:user:a', 'unix:user:b'],
    ['unix:path:/a:1', 'unix:path:/a:2'],
    ['k8s:ns:a', 'k8s:ns:b'],
    ['k8s:pod-label:app:web', 'k8s:pod-label:app:db'],
  ] as const) {
    it(`says that no process has ${one} and ${other}`, () => {
      const why = `no process has ${one} and ${other}: they exclude each other`;
      assert.equal(judge('unix:gid:9', one, other), why);
    });
  }

  it('knows the ids of the names of this machine', () => {
    assert.equal(
      judge('unix:uid:0', 'unix:user:daemon'),
      'no process has unix:uid:0 and unix:user:daemon: daemon is 1 and 7',
    );
    assert.equal(
      judge('unix:group:a', 'unix:gid:3'),
      'no process has unix:gid:3 and unix:group:a: a is 2',
    );
    for (const user of ['unix:user:daemon', 'unix:user:elsewhere']) {
      assert.equal(judge('unix:uid:7', user), undefined);
    }
  });

  it('says nothing of what one process may have', () => {
    for (const texts of [
      ['unix:uid:1'],
      ['unix:uid:1', 'unix:gid:2', 'unix:user:a', 'unix:group:a'],
      ['unix:supplementary_gid:1', 'unix:supplementary_gid:2'],
      ['unix:supplementary_group:a', 'unix:supplementary_group:b'],
      ['k8s:pod-label:app:web', 'k8s:pod-label:tier:web', 'k8s:pod-owner:a:b', 'k8s:pod-owner:a:c'],
      ['k8s:pod-image:a', 'k8s:pod-image:b', 'docker:label:a:b', 'docker:label:a:c'],
      ['x:1', 'x:2'],
    ]) {
      assert.equal(judge(...texts), undefined, texts.join());
    }
  });
});
