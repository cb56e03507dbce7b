import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { IdentityError } from '../core/errors.ts';
import { effectiveIds, startTime, supplementaryGroups } from './peer.ts';

const STATUS =
  'Name:\tweb\\nUid:\t0\t0\t0\t0\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t7\nPid:\t7\n' +
  'Uid:\t1000\t1001\t1002\t1003\nGid:\t2000\t2001\t2002\t2003\nFDSize:\t64\nGroups:\t4 24 2001 \n';

describe('startTime()', () => {
  const rest = `S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20`;
  for (const name of ['node', 'a b', ') S 1 (', '((()))', ')', ''] as const) {
    it(`counts after the last parenthesis of the name ${JSON.stringify(name)}`, () => {
      assert.equal(startTime(`17 (${name}) ${rest}`), '4242');
    });
  }

  it('refuses every text that has no number there', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          assert.match(startTime(text), /^\d+$/);
        } catch (error) {
          assert.ok(error instanceof IdentityError && error.code === 'ERR_ATTESTATION');
        }
      }),
    );
  });
});

describe('effectiveIds()', () => {
  it('takes the effective user and group', () => {
    assert.deepEqual(effectiveIds(STATUS), { uid: 1001, gid: 2001 });
  });

  it('is not misled by a process name that looks like a line of its own', () => {
    // The kernel escapes a newline in the name as backslash n, so no line can be added.
    assert.deepEqual(effectiveIds(STATUS.replace('web', 'Uid:\\t0\\t0')), { uid: 1001, gid: 2001 });
  });

  for (const [what, text] of [
    ['nothing', ''],
    ['no Uid line', STATUS.replace(/^Uid.*\n/m, '')],
    ['no Gid line', STATUS.replace(/^Gid.*\n/m, '')],
    ['too few numbers', STATUS.replace('1000\t1001\t1002\t1003', '1000\t1001')],
    ['a negative number', STATUS.replace('\t1001\t', '\t-1\t')],
  ] as const) {
    it(`fails closed on ${what}`, () => {
      assert.throws(() => effectiveIds(text), { code: 'ERR_ATTESTATION' });
    });
  }
});

describe('the text of a status', () => {
  const { uid, gid } = effectiveIds(STATUS);

  it('reads as before, or fails closed, with any byte changed', () => {
    for (let at = 0; at < STATUS.length; at++) {
      for (let byte = 0; byte < 256; byte++) {
        // The kernel escapes the one byte that would make a line of a name.
        if (byte === 10) continue;
        const text = STATUS.slice(0, at) + String.fromCharCode(byte) + STATUS.slice(at + 1);
        const otherNumber = /\d/.test(STATUS.charAt(at)) && /\d/.test(text.charAt(at));
        try {
          const ids = effectiveIds(text);
          if (!otherNumber) assert.deepEqual(ids, { uid, gid });
          for (const group of supplementaryGroups(text)) assert.ok(Number.isInteger(group));
        } catch (error) {
          assert.ok(error instanceof IdentityError && error.code === 'ERR_ATTESTATION', text);
        }
      }
    }
  });

  it('reads as before, or fails closed, cut off anywhere', () => {
    for (let n = 0; n < STATUS.length; n++) {
      const cut = STATUS.slice(0, n);
      try {
        assert.deepEqual(effectiveIds(cut), { uid, gid });
      } catch (error) {
        assert.ok(error instanceof IdentityError && error.code === 'ERR_ATTESTATION');
      }
      assert.throws(() => supplementaryGroups(cut), { code: 'ERR_ATTESTATION' });
    }
  });
});

describe('supplementaryGroups()', () => {
  it('lists all groups of the line', () => {
    assert.deepEqual(supplementaryGroups(STATUS), [4, 24, 2001]);
  });

  it('is empty for a process without any', () => {
    assert.deepEqual(supplementaryGroups(STATUS.replace(/^Groups.*$/m, 'Groups:\t ')), []);
  });

  it('fails closed without the line', () => {
    assert.throws(() => supplementaryGroups('Uid:\t0\t0\t0\t0\n'), { code: 'ERR_ATTESTATION' });
  });
});
