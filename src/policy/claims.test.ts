import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseSelector } from '../identity/selector.ts';
import { anybodysClaim } from './claims.ts';

const judge = (texts: readonly string[], spiffeId = '/web', rootlessPodman = true) =>
  anybodysClaim(
    { spiffeId: `spiffe://example.org${spiffeId}`, selectors: texts.map(parseSelector) },
    { rootlessPodman },
  );

describe('anybodysClaim()', () => {
  for (const texts of [
    ['docker:label:app:web'],
    ['docker:image_id:web:1', 'unix:gid:1000'],
    ['systemd:id:user@7.service', 'docker:env:A=b'],
  ]) {
    it(`warns of ${texts.join(' and ')}`, () => {
      assert.match(judge(texts) ?? '', /^any user can have docker:.*; add unix:uid or unix:user$/);
    });
  }

  it('says nothing where the kernel says whose it is, or of no container', () => {
    for (const texts of [
      ['docker:label:app:web', 'unix:uid:1000'],
      ['docker:label:app:web', 'unix:user:web'],
      ['k8s:ns:shop'],
    ]) {
      assert.equal(judge(texts), undefined, texts.join());
    }
    assert.equal(judge(['docker:label:app:web'], '/u/{unix:uid}'), undefined);
    assert.notEqual(judge(['docker:label:app:web'], '/u/{docker:label:app}'), undefined);
  });

  it('says nothing where users are not asked', () => {
    assert.equal(judge(['docker:label:app:web'], '/web', false), undefined);
  });
});
