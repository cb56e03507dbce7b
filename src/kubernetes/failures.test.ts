import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { seededRandom } from '../../test/support/fake-random.ts';
import { FakeLogger } from '../../test/support/issuer.ts';
import { createFailures } from './failures.ts';

describe('createFailures()', () => {
  const said = (thrown: unknown) => {
    const log = new FakeLogger();
    const asked = { who: 'the API server', path: '/api/v1/pods', right: 'pods: list' };
    createFailures(asked, { random: seededRandom(), log }).add(thrown);
    return log.lines[0]?.fields ?? assert.fail();
  };
  const failed = (message: string, code: string) => Object.assign(new Error(message), { code });

  it('says what a failed connection means, and nothing where it does not know', () => {
    assert.deepEqual(said(failed('connect ECONNREFUSED 127.0.0.1:6443', 'ECONNREFUSED')), {
      path: '/api/v1/pods',
      reason: 'connect ECONNREFUSED 127.0.0.1:6443',
      detail: 'connection refused: nobody listens there',
    });
    assert.equal('detail' in said(new Error('the answer is no list')), false);
  });

  it('has a reason for a name with several addresses, none of which answers', () => {
    const several = Object.assign(new AggregateError([], ''), { code: 'ECONNREFUSED' });
    assert.equal(said(several).reason, 'ECONNREFUSED');
  });
});
