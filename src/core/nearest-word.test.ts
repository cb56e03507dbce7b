import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { nearestWord } from './nearest-word.ts';

describe('nearestWord()', () => {
  it('offers what was probably meant and nothing far away', () => {
    const keys = ['spiffe_id', 'selectors', 'hint'];
    assert.equal(nearestWord('selector', keys), 'selectors');
    assert.equal(nearestWord('spifeID', keys), 'spiffe_id');
    assert.equal(nearestWord('SPIFFE_ID', keys), 'spiffe_id');
    assert.equal(nearestWord('zzz', keys), undefined);
  });
});
