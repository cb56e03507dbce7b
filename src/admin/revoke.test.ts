import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { WEB } from '../../test/support/identities.ts';
import { IdentityError } from '../core/errors.ts';
import { revokeAnswer, type Revoke, type RevokeOrder } from './revoke.ts';

const { signal } = new AbortController();
const OUTCOME = {
  revoked: [
    {
      ...{ serial: '4f0a', issuerKeyId: 'ab', spiffeId: WEB, reason: 'keyCompromise' },
      ...{ revokedAtMs: 0, notAfterMs: 1000 },
    },
  ],
  unknown: false,
  incomplete: true,
  nextUpdateMs: 2000,
};

async function ask(query: string, result: Revoke = () => Promise.resolve(OUTCOME)) {
  const orders: RevokeOrder[] = [];
  const revoke: Revoke = (order, options) => {
    orders.push(order);
    return result(order, options);
  };
  const { code, body } = await revokeAnswer(revoke, new URLSearchParams(query), signal);
  return { code, document: JSON.parse(body as string) as unknown, orders };
}

describe('revokeAnswer()', () => {
  it('takes a serial in any spelling, or an identity, and a reason', async () => {
    assert.deepEqual((await ask('serial=4F:0A&reason=superseded')).orders, [
      { reason: 'superseded', serial: '4f0a' },
    ]);
    assert.deepEqual((await ask(`spiffe_id=${WEB}`)).orders, [
      { reason: 'unspecified', spiffeId: WEB },
    ]);
  });

  it('says what is revoked', async () => {
    const { code, document } = await ask('serial=4f0a');
    assert.equal(code, 200);
    assert.deepEqual(document, {
      revoked: [
        {
          ...{ serial: '4f0a', authority: 'ab', spiffe_id: WEB, reason: 'keyCompromise' },
          revoked_at: '1970-01-01T00:00:00.000Z',
          not_after: '1970-01-01T00:00:01.000Z',
        },
      ],
      unknown_serial: false,
      may_be_incomplete: true,
      crls_next_update: '1970-01-01T00:00:02.000Z',
    });
  });

  it('refuses what is not one order', async () => {
    const bad = [
      '',
      'reason=superseded',
      `serial=4f&spiffe_id=${WEB}`,
      'serial=4f&serial=50',
      'serial=zz',
      'serial=0',
      'spiffe_id=web',
      'serial=4f&reason=certificateHold',
      'serial=4f&reason=__proto__',
      'serial=4f&reason=superseded&reason=superseded',
    ];
    for (const query of bad) {
      const { code, document, orders } = await ask(query);
      assert.deepEqual([code, orders], [400, []], query);
      assert.equal(typeof (document as { error: unknown }).error, 'string');
    }
  });

  it('passes on why it cannot be', async () => {
    const refusal = new IdentityError('ERR_ISSUER', 'nothing here', { hint: 'look there' });
    const refused = await ask('serial=4f', () => Promise.reject(refusal));
    assert.deepEqual(
      [refused.code, refused.document],
      [409, { error: 'nothing here', hint: 'look there' }],
    );
    const full = await ask('serial=4f', () =>
      Promise.reject(new IdentityError('ERR_DISK', 'full')),
    );
    assert.equal(full.code, 507);
    const bug = new Error('a bug');
    await assert.rejects(
      ask('serial=4f', () => Promise.reject(bug)),
      bug,
    );
  });
});
