import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { judgeCertificateRequest, judgeSigningRequest } from './verdict.ts';

const condition = (type: string, reason = '', message = '', status = 'True') => ({
  ...{ type, status, reason, message },
});
const object = (conditions: readonly object[], more: object = {}) => ({
  status: { conditions, ...more },
});

describe('judgeSigningRequest()', () => {
  const cases: readonly (readonly [what: string, object: object, kind: string, why?: RegExp])[] = [
    ['a new request', {}, 'waiting', /nobody has approved it/],
    ['one that is approved', object([condition('Approved')]), 'waiting', /nobody has signed/],
    ['one that is signed', object([condition('Approved')], { certificate: 'QQ==' }), 'issued'],
    [
      'a certificate that nobody has approved',
      object([], { certificate: 'QQ==' }),
      'waiting',
      /nobody has approved it/,
    ],
    [
      'a denied one, also when it was approved',
      object([condition('Approved'), condition('Denied', 'NodeUnknown', 'no\nsuch node')]),
      'refused',
      /^it was denied \(NodeUnknown\): no such node$/,
    ],
    [
      'one whose signer failed',
      object([condition('Approved'), condition('Failed', 'Signing', 'no key')], {
        certificate: 'QQ==',
      }),
      'refused',
      /its signer failed \(Signing\): no key/,
    ],
    ['a denial that does not hold', object([condition('Denied', '', '', 'False')]), 'waiting'],
  ];
  for (const [what, given, kind, why] of cases) {
    it(`finds ${what} ${kind}`, () => {
      const verdict = judgeSigningRequest(given as Record<string, unknown>);
      assert.equal(verdict.kind, kind);
      if (why && verdict.kind !== 'issued') assert.match(verdict.why, why);
    });
  }
});

describe('judgeCertificateRequest()', () => {
  const cases: readonly (readonly [what: string, object: object, kind: string, why?: RegExp])[] = [
    ['a new request', {}, 'waiting', /nobody has approved it/],
    ['one that is approved', object([condition('Approved')]), 'waiting', /no issuer has taken/],
    [
      'one whose issuer is not there',
      object([condition('Approved'), condition('Ready', 'Pending', 'no "Issuer"', 'False')]),
      'waiting',
      /^cert-manager says \(Pending\): no "Issuer"$/,
    ],
    [
      'one that is signed',
      object([condition('Ready', 'Issued')], { certificate: 'QQ==', ca: 'Qg==' }),
      'issued',
    ],
    ['a certificate before it is ready', object([], { certificate: 'QQ==' }), 'waiting'],
    ['a denied one', object([condition('Denied', 'Policy', 'not you')]), 'refused', /not you/],
    ['an invalid one', object([condition('InvalidRequest', 'X', 'bad')]), 'refused', /bad/],
    [
      'one that failed',
      object([condition('Ready', 'Failed', 'it broke', 'False')]),
      'refused',
      /^it failed \(Failed\): it broke$/,
    ],
  ];
  for (const [what, given, kind, why] of cases) {
    it(`finds ${what} ${kind}`, () => {
      const verdict = judgeCertificateRequest(given as Record<string, unknown>);
      assert.equal(verdict.kind, kind);
      if (why && verdict.kind !== 'issued') assert.match(verdict.why, why);
    });
  }
});

describe('both', () => {
  const text = fc.string({ unit: 'binary', maxLength: 500 });
  const words = fc.constantFrom('Ready', 'Approved', 'Denied', 'Failed', 'True', 'False');
  const value = fc.oneof(text, words, fc.jsonValue());
  const hostile = fc.record(
    {
      status: fc.oneof(
        fc.jsonValue(),
        fc.record(
          {
            certificate: value,
            ca: value,
            conditions: fc.oneof(
              fc.jsonValue(),
              fc.array(
                fc.record(
                  { type: value, status: value, reason: value, message: value },
                  { requiredKeys: [] },
                ),
              ),
            ),
          },
          { requiredKeys: [] },
        ),
      ),
    },
    { requiredKeys: [] },
  );

  it('have an answer to whatever is there, fit for one line', () => {
    fc.assert(
      fc.property(hostile, (given) => {
        for (const judge of [judgeSigningRequest, judgeCertificateRequest]) {
          const verdict = judge(given);
          if (verdict.kind === 'issued') {
            assert.notEqual(verdict.certificate, '');
          } else {
            assert.doesNotMatch(verdict.why, /[\p{C}\p{Zl}\p{Zp}]/u);
            assert.ok(verdict.why.length < 1000);
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});
