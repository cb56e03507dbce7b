import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { printable, readAnswer, refusalText } from './answer.ts';

const bytes = (text: string) => Buffer.from(text);

describe('readAnswer()', () => {
  it('reads the parts of an envelope, and takes what is of another kind for absent', () => {
    const whole = { data: { a: 1 }, auth: { client_token: 't' }, warnings: ['w', 5] };
    assert.deepEqual(readAnswer(bytes(JSON.stringify(whole))), {
      data: { a: 1 },
      auth: { client_token: 't' },
      warnings: ['w'],
    });
    for (const odd of ['{}', '{"data":null,"auth":[],"warnings":"x"}', '{"data":"x","auth":5}']) {
      assert.deepEqual(readAnswer(bytes(odd)), { data: {}, auth: {}, warnings: [] });
    }
  });

  it('knows what is no JSON object', () => {
    for (const text of ['', '<html></html>', '[]', 'null', '"x"', '{"data":']) {
      assert.equal(readAnswer(bytes(text)), undefined, text);
    }
  });

  it('never throws, whatever it is given', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), fc.json().map(bytes)), (any) => {
        readAnswer(Buffer.from(any));
        refusalText(500, Buffer.from(any), ['secret']);
      }),
    );
  });
});

describe('refusalText()', () => {
  it("gives Vault's own words, else what the status means", () => {
    const text = (status: number, said: string) => refusalText(status, bytes(said), []);
    assert.equal(text(503, '{"errors":["Vault is sealed"]}'), 'Vault is sealed');
    assert.equal(text(400, '{"errors":["a","b"]}'), 'a; b');
    assert.equal(text(503, '{"errors":[]}'), 'it is sealed, or down for maintenance');
    assert.equal(text(429, ''), 'it is asked too often, or a standby');
    assert.equal(text(418, ''), 'without a reason');
    assert.equal(text(502, '<html>\n<b>Bad\u001b[31m</b>'), '<html> <b>Bad [31m</b>');
  });
});

describe('printable()', () => {
  it('is one bounded line of plain characters without any secret', () => {
    const secret = fc.stringMatching(/^[A-Za-z0-9.]{8,40}$/);
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), secret, fc.string(), (before, token, after) => {
        const text = printable(`${before}${token}${after}${token}`, [token]);
        assert.match(text, /^[\x20-\x7e]*…?$/);
        assert.ok(text.length <= 301);
        assert.ok(!text.includes(token));
      }),
    );
    assert.equal(printable('a token of abcd', ['abcd', 'a']), 'a token of [redacted]');
    assert.equal(printable('x'.repeat(400), []).length, 301);
  });

  it('does not let a secret begin before the end of what is shown', () => {
    const shown = printable(`${'x'.repeat(295)}hvs.secret`, ['hvs.secret']);
    assert.ok(!shown.includes('hvs.'), shown);
    const far = refusalText(500, bytes(`${' '.repeat(4090)}hvs.secret`), ['hvs.secret']);
    assert.equal(far, '[redacted]');
  });
});
