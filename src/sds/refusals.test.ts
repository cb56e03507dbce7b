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
    for (let n = 0; n < 10_000; n++) refusals.note(caller, `name ${n}`);
    const newest = Array.from({ length: 64 }, (_, n) => refusals.note(caller, `name ${9999 - n}`));
    assert.ok(newest.every(Boolean), 'the newest are known');
    assert.equal(refusals.note(caller, 'name 9935'), false);
  });

  it('keeps absent names apart, so that strangers push out none that a proxy waits for', () => {
    const refusals = createRefusals();
    const caller = fakeCaller();
    refusals.note(caller, 'default');
    for (let n = 0; n < 100; n++) assert.equal(refusals.noteAbsent(caller, `name ${n}`), false);
    assert.equal(refusals.noteAbsent(caller, 'name 99'), true);
    assert.equal(refusals.note(caller, 'default'), true);
  });
});
