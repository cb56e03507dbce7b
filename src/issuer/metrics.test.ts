import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { Registry } from 'prom-client';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { issuerConfig, issuerDeps, WEB } from '../../test/support/issuer.ts';
import type { SpiffeId } from '../identity/spiffe-id.ts';
import { openIssuer, type Issuer } from './issuer.ts';
import { withIssuerMetrics } from './metrics.ts';

async function open(t: TestContext) {
  const registry = new Registry();
  const clock = new FakeClock();
  const opened = await openIssuer(issuerConfig(), issuerDeps());
  const slow: Issuer = {
    ...opened,
    async mint(request, options) {
      await clock.advance(250);
      return opened.mint(request, options);
    },
  };
  const issuer = withIssuerMetrics(slow, registry, clock);
  t.after(() => issuer.close());
  return { issuer, registry };
}

describe('withIssuerMetrics()', () => {
  it('counts results, from zero on, and times what was issued', async (t) => {
    const { issuer, registry } = await open(t);
    assert.match(await registry.metrics(), /x509_svids_total\{result="error"\} 0/);
    const svid = await issuer.mint({ id: WEB, dnsNames: [] }, {});
    assert.equal(svid.id, WEB);
    await assert.rejects(issuer.mint({ id: 'spiffe://x/y' as SpiffeId, dnsNames: [] }, {}), {
      code: 'ERR_ISSUER',
    });
    const text = await registry.metrics();
    assert.match(text, /credence_issuer_x509_svids_total\{result="issued"\} 1/);
    assert.match(text, /credence_issuer_x509_svids_total\{result="error"\} 1/);
    assert.match(text, /credence_issuer_mint_seconds_count 1/);
    assert.match(text, /credence_issuer_mint_seconds_sum 0\.25\n/);
  });

  it('shows the end of each signing authority', async (t) => {
    const { issuer, registry } = await open(t);
    const text = await registry.metrics();
    for (const { slot, notAfterMs } of issuer.authorities()) {
      const line = `credence_issuer_ca_not_after_timestamp_seconds{slot="${slot}"} ${notAfterMs / 1000}`;
      assert.ok(text.includes(line), text);
    }
  });
});
