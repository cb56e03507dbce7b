import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseSelector } from '../identity/selector.ts';
import { contradiction } from './contradiction.ts';

const judge = (...texts: string[]) => contradiction(texts.map(parseSelector));

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
