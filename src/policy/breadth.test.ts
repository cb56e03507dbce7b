import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseSelector } from '../identity/selector.ts';
import { tooBroad } from './breadth.ts';

const judge = (texts: readonly string[], spiffeId = 'spiffe://example.org/web') =>
  tooBroad({ spiffeId, selectors: texts.map(parseSelector) });

describe('tooBroad()', () => {
  for (const [texts, whose] of [
    [['unix:uid:0'], 'root'],
    [['unix:gid:0', 'unix:user:root'], 'root'],
    [['unix:supplementary_group:nogroup'], 'nobody'],
    [['unix:uid:65534'], 'nobody'],
    [['unix:group:users'], 'a group that every user may be in'],
    [['unix:supplementary_gid:100'], 'a group that every user may be in'],
    [['unix:gid:1000'], 'a group, whoever its user is'],
    [['unix:group:web', 'unix:supplementary_gid:0'], 'a group, whoever its user is'],
  ] as const) {
    it(`warns of ${texts.join(' and ')} alone`, () => {
      const why = judge(texts);
      assert.ok(
        why?.startsWith(
          `${texts.join(' and ')} is too broad for spiffe://example.org/web: it is every process of ${whose}`,
        ),
        why,
      );
    });
  }

  it('says nothing where a selector tells processes apart', () => {
    for (const texts of [
      ['unix:uid:1000'],
      ['unix:uid:0', 'unix:path:/usr/bin/envoy'],
      ['unix:gid:1000', 'unix:path:/usr/bin/envoy'],
      ['unix:gid:1000', 'unix:user:web'],
      ['k8s:ns:web', 'unix:uid:0'],
    ]) {
      assert.equal(judge(texts), undefined, texts.join());
    }
  });

  it('says nothing of an entry that gives each its own ID', () => {
    for (const group of ['unix:group:users', 'unix:gid:1000']) {
      assert.equal(judge([group], 'spiffe://example.org/{unix:user}'), undefined);
    }
  });
});
