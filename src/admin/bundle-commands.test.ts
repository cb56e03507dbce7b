import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLogger } from '../core/log.ts';
import { IdentityError } from '../core/errors.ts';
import { runBundleCommand, type BundleControl } from './bundle-commands.ts';

async function ask(path: string, query: string, control: Partial<BundleControl> = {}) {
  const calls: unknown[][] = [];
  const context = {
    control: {
      set: (...given: unknown[]) => void calls.push(given),
      delete: (...given: unknown[]) => calls.push(given) > 0,
      ...control,
    },
    log: silentLogger,
    body: () => Promise.resolve('a bundle'),
  };
  const { code, body } = await runBundleCommand(path, new URLSearchParams(query), context);
  return { code, body: body as string, calls };
}

describe('runBundleCommand()', () => {
  it('sets what the body holds, and deletes', async () => {
    const set = await ask('/bundles/set', 'trust_domain=a.example&format=pem');
    assert.deepEqual([set.code, set.calls], [200, [['a.example', 'a bundle', 'pem']]]);
    const deleted = await ask('/bundles/delete', 'trust_domain=a.example');
    assert.deepEqual([deleted.code, deleted.calls], [200, [['a.example']]]);
  });

  it('says what is wrong with a question', async () => {
    for (const [query, words] of [
      ['', /once/],
      ['trust_domain=a.example&trust_domain=b.example', /once/],
      ['trust_domain=A', /trust_domain: /],
      ['trust_domain=a.example&format=der', /pem or spiffe/],
    ] as const) {
      const { code, body, calls } = await ask('/bundles/set', query);
      assert.deepEqual([code, calls], [400, []], query);
      assert.match(body, words);
    }
  });

  it('says what is wrong with a bundle, and that none was there', async () => {
    const refuse = (code: 'ERR_BAD_REQUEST' | 'ERR_DISK') => ({
      set: () => {
        throw new IdentityError(code, 'expected a CA');
      },
    });
    const bad = await ask('/bundles/set', 'trust_domain=a.example', refuse('ERR_BAD_REQUEST'));
    assert.equal(bad.code, 400);
    assert.match(bad.body, /expected a CA/);
    const full = await ask('/bundles/set', 'trust_domain=a.example', refuse('ERR_DISK'));
    assert.equal(full.code, 507);
    const none = await ask('/bundles/delete', 'trust_domain=a.example', { delete: () => false });
    assert.equal(none.code, 404);
  });
});
