import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fakeCaller } from '../../test/support/identities.ts';
import { createRefusals } from './refusals.ts';

describe('createRefusals()', () => {
  it('knows a name that the same process was refused before', () => {
    const refusals = createRefusals();
    const [a, b] = [fakeCaller(1), fakeCaller(2)];
    assert.equal(refusals.note(a, 'default'), false);
    assert.equal(refusals.note(a, 'default'), true);
    assert.equal(refusals.note(a, 'other'), false);
    assert.equal(refusals.note(b, 'default'), false);
  });

  it('remembers a bounded number of names, for they are the caller’s choice', () => {
    const refusals = createRefusals();
    const caller = fakeCaller();
    const noted = () =>
      Array.from({ length: 10_000 }, (_, n) => refusals.note(caller, `name ${n}`));
    noted();
    assert.equal(noted().filter(Boolean).length, 64);
  });
});
