import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createReadiness } from './ready.ts';

describe('createReadiness()', () => {
  it('is ready while nobody gave a reason to wait', () => {
    assert.deepEqual(createReadiness().reasons(), []);
  });

  it('names what it waits for, in the order given, until each is taken away', () => {
    const readiness = createReadiness();
    const first = readiness.block('the policy');
    const second = readiness.block('the issuer');
    assert.deepEqual(readiness.reasons(), ['the policy', 'the issuer']);
    first();
    assert.deepEqual(readiness.reasons(), ['the issuer']);
    second();
    assert.deepEqual(readiness.reasons(), []);
  });

  it('stays blocked by one of two equal reasons, though the other is taken away twice', () => {
    const readiness = createReadiness();
    const first = readiness.block('an authority');
    readiness.block('an authority');
    first();
    first();
    assert.deepEqual(readiness.reasons(), ['an authority']);
  });

  it('gives out reasons that later changes leave alone', () => {
    const readiness = createReadiness();
    const release = readiness.block('the policy');
    const seen = readiness.reasons();
    release();
    assert.deepEqual(seen, ['the policy']);
  });
});
