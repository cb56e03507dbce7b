import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { settle } from '../../test/support/fake-clock.ts';
import { fakeBundle, OWN, PARTNER, WEB } from '../../test/support/identities.ts';
import { daemon } from '../../test/support/secret-stream.ts';

/** A daemon, how many of its proxies are behind, and a new bundle. */
function counted(...args: Parameters<typeof daemon>) {
  const served = daemon(...args);
  return {
    ...served,
    count: () => Object.values(served.bundleGauge.count()),
    change: (sequence: number) => void served.bundles.set(OWN, fakeBundle(OWN, sequence)),
  };
}

describe('SecretStream, as a reader of the own bundle', () => {
  it('is none while it asks for certificates or the bundles of others', async () => {
    const { open, state, bundles, count } = counted();
    state.trustDomains = [OWN, PARTNER];
    bundles.set(PARTNER, fakeBundle(PARTNER));
    const [one, other] = [open('a'), open('b')];
    await one.ask('default');
    await other.ask(`spiffe://${PARTNER}`);
    await other.ack(`spiffe://${PARTNER}`);
    assert.deepEqual(count(), [0, 0]);
  });

  for (const name of ['ROOTCA', `spiffe://${OWN}`, 'ALL']) {
    it(`is behind until its proxy has accepted ${name} as it is now`, async () => {
      const { open, refresh, count, change } = counted();
      const { ask, ack, call } = open();
      await ask(name);
      assert.deepEqual(count(), [1, 1]);
      await ack(name);
      assert.deepEqual(count(), [1, 0]);
      change(2);
      assert.deepEqual(count(), [1, 1]);
      await refresh();
      assert.deepEqual(count(), [1, 1]);
      await ack(name);
      assert.deepEqual([count(), call.responses.length], [[1, 0], 2]);
    });
  }

  it('is one that asks for everything', async () => {
    const { open, count } = counted();
    const { ask, ack } = open();
    await ask();
    assert.deepEqual(count(), [1, 1]);
    await ack();
    assert.deepEqual(count(), [1, 0]);
  });

  it('takes the bundle of another domain for no news of the own one', async () => {
    const { open, state, bundles, refresh, count } = counted();
    state.trustDomains = [OWN, PARTNER];
    bundles.set(PARTNER, fakeBundle(PARTNER, 1));
    const { ask, ack, call } = open();
    await ask('ALL');
    await ack('ALL');
    bundles.set(PARTNER, fakeBundle(PARTNER, 2));
    await refresh();
    assert.deepEqual([count(), call.responses.length], [[1, 0], 2]);
  });

  it('takes an earlier acknowledgement for what it is', async () => {
    const { open, refresh, count, change } = counted();
    const { ask, send, ack, call } = open();
    await ask('ROOTCA');
    const first = call.last.nonce;
    change(2);
    await refresh();
    await send({ responseNonce: first, resourceNames: ['ROOTCA'] });
    assert.deepEqual(count(), [1, 1]);
    await ack('ROOTCA');
    assert.deepEqual(count(), [1, 0]);
  });

  it('is behind after a refusal, and tells of it', async () => {
    const { open, refresh, bundleGauge, count, change } = counted();
    const { ask, ack, nack } = open();
    await ask('ROOTCA');
    await ack('ROOTCA');
    change(2);
    await refresh();
    let told = 0;
    bundleGauge.onChange(() => told++);
    await nack('no', 'ROOTCA');
    assert.deepEqual([count(), told], [[1, 1], 1]);
  });

  it('is not behind a bundle with another number and the same content', async () => {
    const { open, refresh, bundles, count } = counted();
    const { ask, ack, call } = open();
    await ask('ROOTCA');
    const same = () => {
      const before = bundles.get(OWN) ?? assert.fail();
      bundles.set(OWN, { ...before, sequence: before.sequence + 1 });
      return refresh();
    };
    await same();
    // The answer to what was sent for the earlier number.
    await ack('ROOTCA');
    assert.deepEqual(count(), [1, 0]);
    await same();
    assert.deepEqual([count(), call.responses.length], [[1, 0], 1]);
  });

  it('is not counted any more when it has ended, or asks for it no more', async () => {
    const { open, count } = counted();
    const [one, other] = [open('a'), open('b')];
    await one.ask('ROOTCA');
    await other.ask('ROOTCA', 'default');
    assert.deepEqual(count(), [2, 2]);
    one.call.emit('cancelled');
    await other.send({ responseNonce: other.call.last.nonce, resourceNames: ['default'] });
    assert.deepEqual(count(), [0, 0]);
  });

  it('is behind from its first request on, before its process is known', async () => {
    const { open, state, caller, count } = counted();
    let attested: (() => void) | undefined;
    state.attested = new Promise((resolve) => (attested = () => resolve(caller)));
    const [one, other] = [open('a'), open('b')];
    await one.ask('ROOTCA');
    await other.ask(WEB);
    assert.deepEqual(count(), [1, 1]);
    attested?.();
    await settle();
    await one.ack('ROOTCA');
    assert.deepEqual(count(), [1, 0]);
  });
});

describe('SecretStream, as a user of certificates', () => {
  const serials = ({ stream }: ReturnType<ReturnType<typeof daemon>['open']>) =>
    Array.from(stream.svids(), ({ serial, authorityId }) => `${serial} ${authorityId.slice(0, 2)}`);

  it('has the old and the new one until the new one is accepted', async () => {
    const { open, renew, refresh } = daemon();
    const proxy = open();
    assert.deepEqual(serials(proxy), []);
    await proxy.ask('default', 'ROOTCA');
    assert.deepEqual(serials(proxy), ['01 aa']);
    await proxy.ack('default', 'ROOTCA');
    renew(WEB, '02');
    await refresh();
    assert.deepEqual(serials(proxy), ['01 aa', '02 aa']);
    await proxy.ack('default', 'ROOTCA');
    assert.deepEqual(serials(proxy), ['02 aa']);
  });

  it('keeps the old one when it has refused the new one', async () => {
    const { open, renew, refresh } = daemon();
    const proxy = open();
    await proxy.ask('default');
    await proxy.ack('default');
    renew(WEB, '02');
    await refresh();
    await proxy.nack('no', 'default');
    assert.ok(serials(proxy).includes('01 aa'));
  });
});
