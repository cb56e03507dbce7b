import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { status } from '@grpc/grpc-js';
import fc from 'fast-check';
import { IdentityError, type ErrorCode } from '../core/errors.ts';
import { printable, readable, statusOf, summary } from './status.ts';

const messageOf = (error: IdentityError) => statusOf(error).metadata?.get('grpc-message')[0];

describe('statusOf()', () => {
  const table: readonly (readonly [ErrorCode, status])[] = [
    ['ERR_DENIED', status.PERMISSION_DENIED],
    ['ERR_PEER_HIDDEN', status.PERMISSION_DENIED],
    ['ERR_ATTESTATION', status.UNAVAILABLE],
    ['ERR_NOT_READY', status.UNAVAILABLE],
    ['ERR_PEER_GONE', status.UNAVAILABLE],
    ['ERR_ISSUER', status.UNAVAILABLE],
    ['ERR_SHUTDOWN', status.UNAVAILABLE],
    ['ERR_LIMIT', status.RESOURCE_EXHAUSTED],
    ['ERR_BAD_REQUEST', status.INVALID_ARGUMENT],
    ['ERR_BUG', status.INTERNAL],
  ];
  for (const [code, expected] of table) {
    it(`is ${status[expected]} for ${code}`, () => {
      assert.equal(statusOf(new IdentityError(code, 'why')).code, expected);
    });
  }

  it('tells the peer what was written for it', () => {
    for (const code of ['ERR_DENIED', 'ERR_NOT_READY', 'ERR_LIMIT', 'ERR_BAD_REQUEST'] as const) {
      assert.equal(messageOf(new IdentityError(code, 'a sentence')), 'a sentence');
    }
  });

  it('keeps what happened inside to itself', () => {
    const inside = ['ERR_BUG', 'ERR_DISK', 'ERR_KEY_STORE', 'ERR_ISSUER', 'ERR_ATTESTATION'];
    for (const code of inside as ErrorCode[]) {
      const { details } = statusOf(new IdentityError(code, 'open /var/lib/credence/keys/1'));
      assert.ok(details && !details.includes('/var'), details);
    }
  });
});

describe('readable()', () => {
  it('leaves blanks alone, for Envoy logs the text as it arrives', () => {
    const { metadata } = readable('no policy entry grants default');
    assert.deepEqual(metadata.get('grpc-message'), ['no policy entry grants default']);
  });

  it('escapes the percent sign, so that a decoder gives the text back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 700 }), (text) => {
        const { details, metadata } = readable(text);
        const [sent] = metadata.get('grpc-message');
        assert.ok(typeof sent === 'string');
        assert.match(sent, /^[ -~]*$/);
        assert.equal(decodeURIComponent(sent), details);
      }),
    );
  });
});

describe('printable()', () => {
  it('leaves no character that could end a header or forge a line of a log', () => {
    assert.equal(printable('a\r\nb\0c\u001b[31mé'), 'a??b?c?[31m?');
  });

  it('cuts at a length that fits a header', () => {
    assert.equal(printable('a'.repeat(512)), 'a'.repeat(512));
    assert.equal(printable('a'.repeat(100_000)).length, 512);
    assert.ok(printable('a'.repeat(513)).endsWith('...'));
  });
});

describe('summary()', () => {
  it('is the reason when there is one, all of them when there are a few', () => {
    assert.equal(summary(['no entry for a']), 'no entry for a');
    assert.equal(summary(['no a', 'no b']), 'no a; no b');
    assert.equal(summary([]), '');
  });

  it('counts what it does not show', () => {
    const reasons = Array.from({ length: 2000 }, (_, n) => `no ${n}`);
    assert.match(summary(reasons), /^no 0; no 1;.*; and 1992 more$/);
  });

  it('stays short whatever the names are', () => {
    const reasons = Array.from({ length: 2000 }, () => 'x'.repeat(2048));
    assert.ok(summary(reasons).length <= 512);
  });
});
