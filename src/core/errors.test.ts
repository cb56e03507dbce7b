import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { errorText, IdentityError, systemCode, toIdentityError } from './errors.ts';

describe('IdentityError', () => {
  it('carries code, message, cause and hint', () => {
    const cause = new Error('inner');
    const error = new IdentityError('ERR_DISK', 'cannot write x', { cause, hint: 'make room' });
    assert.ok(error instanceof Error);
    assert.deepEqual(
      [error.name, error.code, error.message, error.cause, error.hint],
      ['IdentityError', 'ERR_DISK', 'cannot write x', cause, 'make room'],
    );
  });

  it('has neither cause nor hint when none was given', () => {
    const error = new IdentityError('ERR_BUG', 'impossible');
    assert.equal('cause' in error, false);
    assert.equal(error.hint, undefined);
  });
});

describe('toIdentityError()', () => {
  const inner = new IdentityError('ERR_DENIED', 'no entry');

  it('gives back what is one already', () => assert.equal(toIdentityError(inner), inner));

  it('finds one among the causes', () => {
    const wrapped = new Error('outer', { cause: new Error('middle', { cause: inner }) });
    assert.equal(toIdentityError(wrapped), inner);
  });

  it('prefers the outermost', () => {
    const outer = new IdentityError('ERR_ISSUER', 'outer', { cause: inner });
    assert.equal(toIdentityError(new Error('x', { cause: outer })), outer);
  });

  it('takes anything else for a bug, unless told, and keeps it as the cause', () => {
    const thrown = new RangeError('odd');
    const bug = toIdentityError(thrown);
    assert.deepEqual([bug.code, bug.message, bug.cause], ['ERR_BUG', 'odd', thrown]);
    assert.equal(toIdentityError(thrown, 'ERR_DISK').code, 'ERR_DISK');
  });

  it('ends on an error that is its own cause', () => {
    const loop = new Error('loop');
    loop.cause = loop;
    assert.equal(toIdentityError(loop).message, 'loop');
  });

  it('makes an error with a text of anything that can be thrown', () => {
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: true, withBigInt: true }), (thrown) => {
        const error = toIdentityError(thrown);
        assert.equal(error.code, 'ERR_BUG');
        assert.equal(typeof error.message, 'string');
      }),
    );
  });
});

describe('errorText()', () => {
  it('is the message of an error', () => assert.equal(errorText(new Error('why')), 'why'));

  for (const [thrown, text] of [
    ['a text', 'a text'],
    [undefined, 'undefined'],
    [null, 'null'],
    [7n, '7'],
    [Symbol('s'), 'Symbol(s)'],
    [Object.create(null), 'something that has no text was thrown'],
    [
      {
        toString() {
          throw new Error('not even this');
        },
      },
      'something that has no text was thrown',
    ],
  ] as const) {
    it(`is "${text}" for a thrown ${typeof thrown}`, () => assert.equal(errorText(thrown), text));
  }
});

describe('systemCode()', () => {
  it('is the errno name of a system error', () => {
    assert.throws(
      () => readFileSync('/does/not/exist'),
      (thrown) => systemCode(thrown) === 'ENOENT',
    );
  });

  it('is undefined for everything else', () => {
    for (const thrown of [
      new Error('plain'),
      Object.assign(new Error('number'), { code: 5 }),
      { code: 'ENOENT' },
      'ENOENT',
      undefined,
    ]) {
      assert.equal(systemCode(thrown), undefined);
    }
  });
});
