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
    const known = () =>
      Array.from({ length: 10_000 }, (_, n) => refusals.note(caller, `name ${n}`)).filter(Boolean);
    // A proxy asks for all its names in turn: none may make room for another.
    for (const round of [1, 2]) assert.equal(known().length, 1024, `round ${round}`);
  });

  it('tells the last few refusals, each name once, and what a process goes on using', () => {
    const refusals = createRefusals();
    const [caller, other] = [fakeCaller(1), fakeCaller(2)];
    for (let n = 0; n < 20; n++) {
      refusals.tell(caller, { name: `name ${n % 10}`, reason: 'no', atMs: n });
    }
    assert.deepEqual(
      refusals.told(caller).map(({ name, atMs }) => [name, atMs]),
      Array.from({ length: 8 }, (_, n) => [`name ${n + 2}`, n + 12]),
    );
    refusals.keepInUse(caller, 'default', { version: 'v1', svid: undefined });
    assert.equal(refusals.inUse(caller, 'default')?.version, 'v1');
    assert.deepEqual([refusals.inUse(other, 'default'), refusals.told(other)], [undefined, []]);
  });

  it('keeps absent names apart, so that strangers push out none that a proxy waits for', () => {
    const refusals = createRefusals();
    const caller = fakeCaller();
    refusals.note(caller, 'default');
    for (let n = 0; n < 2000; n++) assert.equal(refusals.noteAbsent(caller, `name ${n}`), false);
    assert.deepEqual(
      ['name 0', 'name 1999'].map((name) => refusals.noteAbsent(caller, name)),
      [true, false],
    );
    assert.equal(refusals.note(caller, 'default'), true);
  });
});
