import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Registry } from 'prom-client';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { fakeSvid, WEB } from '../../test/support/identities.ts';
import { issuerConfig, issuerDeps } from '../../test/support/issuer.ts';
import { IdentityError } from '../core/errors.ts';
import { openIssuer, type Issuer } from './issuer.ts';
import { registerAuthorityMetrics, withMintMetrics } from './metrics.ts';

function measured(during: () => void = () => undefined) {
  const registry = new Registry();
  const clock = new FakeClock();
  const mint = withMintMetrics(
    async (id: string, options: { signal?: AbortSignal }) => {
      await clock.advance(250);
      during();
      options.signal?.throwIfAborted();
      if (id !== WEB) throw new IdentityError('ERR_ISSUER', 'withheld');
      return fakeSvid(id);
    },
    registry,
    clock,
  );
  const counts = async () => {
    const text = await registry.metrics();
    return ['issued', 'error'].map((result) =>
      Number(new RegExp(`x509_svids_total{result="${result}"} (.*)`).exec(text)?.[1]),
    );
  };
  return { mint, registry, counts };
}

describe('withMintMetrics()', () => {
  it('counts results, from zero on, and times what was issued', async () => {
    const { mint, registry, counts } = measured();
    assert.deepEqual(await counts(), [0, 0]);
    assert.equal((await mint(WEB, {})).id, WEB);
    await assert.rejects(mint('spiffe://x/y', {}), { code: 'ERR_ISSUER' });
    assert.deepEqual(await counts(), [1, 1]);
    const text = await registry.metrics();
    assert.match(text, /credence_issuer_mint_seconds_count 1/);
    assert.match(text, /credence_issuer_mint_seconds_sum 0\.25\n/);
  });

  it('counts as nothing what nobody waits for any more', async () => {
    const abort = new AbortController();
    const { mint, counts } = measured(() => abort.abort(new Error('gone')));
    await assert.rejects(mint(WEB, { signal: abort.signal }), { message: 'gone' });
    assert.deepEqual(await counts(), [0, 0]);
  });
});

describe('registerAuthorityMetrics()', () => {
  it('shows the end of each signing authority, once there is an issuer', async (t) => {
    const registry = new Registry();
    const issuer = await openIssuer(issuerConfig(), issuerDeps());
    t.after(() => issuer.close());
    const opened: Issuer[] = [];
    registerAuthorityMetrics(registry, () => opened[0]);
    assert.doesNotMatch(await registry.metrics(), /slot=/);
    opened.push(issuer);
    const text = await registry.metrics();
    for (const { slot, notAfterMs } of issuer.authorities()) {
      const line = `credence_issuer_ca_not_after_timestamp_seconds{slot="${slot}"} ${notAfterMs / 1000}`;
      assert.ok(text.includes(line), text);
    }
  });
});
