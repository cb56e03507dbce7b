import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Registry } from 'prom-client';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { IdentityError } from '../core/errors.ts';
import { parseSelector } from '../identity/selector.ts';
import type { Attestor } from './attestor.ts';
import { countRefused, createAttestationMetrics } from './metrics.ts';
import type { Peer } from './peer.ts';

const signal = new AbortController().signal;
const peer = (exited: boolean) => ({ hasExited: () => exited }) as Peer;

/** An attestor with metrics, and a look at one of their lines. */
function measured(attest: Attestor['attest']) {
  const registry = new Registry();
  const clock = new FakeClock();
  const metrics = createAttestationMetrics(registry, clock);
  const attestor = metrics.measured({ name: 'unix', attest });
  const value = async (line: string) => {
    const text = await registry.metrics();
    const found = text.split('\n').find((candidate) => candidate.startsWith(`${line} `));
    return Number(found?.slice(line.length + 1));
  };
  return { attestor, metrics, value, clock };
}

const COUNT = 'credence_attestation_seconds_count{attestor="unix"}';
const SUM = 'credence_attestation_seconds_sum{attestor="unix"}';
const failures = (reason: string) =>
  `credence_attestation_failures_total{attestor="unix",reason="${reason}"}`;

describe('createAttestationMetrics()', () => {
  it('shows every reason at zero before anything has happened', async () => {
    const { value } = measured(() => ({ selectors: [] }));
    for (const reason of ['hidden', 'gone', 'unreadable']) {
      assert.equal(await value(failures(reason)), 0, reason);
    }
  });

  it('does so for each attestor: an alert sees the first failure', async () => {
    const registry = new Registry();
    const metrics = createAttestationMetrics(registry, new FakeClock());
    metrics.measured({ name: 'systemd', attest: () => ({ selectors: [] }) });
    assert.match(
      await registry.metrics(),
      /^credence_attestation_failures_total\{attestor="systemd",reason="unreadable"\} 0$/m,
    );
  });

  it('counts peers that no attestor was asked about', async () => {
    const { metrics, value } = measured(() => ({ selectors: [] }));
    metrics.unidentified('hidden');
    metrics.unidentified('hidden');
    metrics.unidentified('unreadable');
    assert.equal(await value(failures('hidden')), 2);
    assert.equal(await value(failures('gone')), 0);
    assert.equal(await value(failures('unreadable')), 1);
  });

  it('times an answer that comes at once, and hands it on at once', async () => {
    const evidence = { selectors: [parseSelector('unix:uid:1')] };
    const { attestor, value } = measured(() => evidence);
    assert.equal(attestor.attest(peer(false), { signal }), evidence);
    assert.equal(await value(COUNT), 1);
  });

  it('times an answer that is waited for', async () => {
    const evidence = { selectors: [parseSelector('unix:uid:1')] };
    const { attestor, value, clock } = measured(async () => {
      await clock.advance(1500);
      return evidence;
    });
    assert.equal(await attestor.attest(peer(false), { signal }), evidence);
    assert.equal(await value(COUNT), 1);
    assert.equal(await value(SUM), 1.5);
  });

  for (const [what, exited, thrown, reason] of [
    ['a process that has ended', true, new Error('ESRCH'), 'gone'],
    ['one that is another now', false, new IdentityError('ERR_PEER_GONE', 'setuid'), 'gone'],
    ['one that cannot be read', false, new Error('EACCES'), 'unreadable'],
  ] as const) {
    it(`counts ${what} as ${reason}, thrown or rejected, and hands the error on`, async () => {
      const thrower = measured(() => {
        throw thrown;
      });
      assert.throws(() => thrower.attestor.attest(peer(exited), { signal }), thrown);
      assert.equal(await thrower.value(failures(reason)), 1);
      assert.equal(await thrower.value(COUNT), 0);
      const rejecter = measured(() => Promise.reject(thrown));
      await assert.rejects(async () => rejecter.attestor.attest(peer(exited), { signal }), thrown);
      assert.equal(await rejecter.value(failures(reason)), 1);
    });
  }
});

describe('countRefused()', () => {
  it('counts those who are turned away, and nobody else', async () => {
    const registry = new Registry();
    const admits = countRefused(registry, (fd) => fd % 2 === 0);
    assert.deepEqual([1, 2, 3].map(admits), [false, true, false]);
    assert.match(await registry.metrics(), /^credence_attestation_refused_connections_total 2$/m);
  });
});
