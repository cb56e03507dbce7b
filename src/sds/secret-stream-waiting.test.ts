import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { settle } from '../../test/support/fake-clock.ts';
import { API, entitlement, fakeBundle, OWN, PARTNER, WEB } from '../../test/support/identities.ts';
import { daemon } from '../../test/support/secret-stream.ts';
import { IdentityError } from '../core/errors.ts';
import type { Caller } from '../identity/caller.ts';
import { parseSpiffeId } from '../identity/spiffe-id.ts';

describe('SecretStream that waits', () => {
  it('waits for the first SVID, then answers', async () => {
    const { open, held, renew, refresh, clock } = daemon();
    held.clear();
    const { call, ask, stream } = open();
    await ask('default');
    assert.deepEqual(stream.snapshot().waiting, ['default is being signed']);
    await clock.advance(4999);
    renew(WEB, '01');
    await refresh();
    assert.equal(call.responses.length, 1);
    await clock.advance(60_000);
    assert.equal(call.ended, undefined);
    assert.equal(clock.timers, 0);
  });

  it('ends with the latest reason when it waited in vain', async () => {
    const { open, held, state, refresh, clock } = daemon();
    held.clear();
    const { call, ask } = open();
    await ask('default');
    await clock.advance(1000);
    state.failure = new IdentityError('ERR_ISSUER', 'the disk /var is full');
    await refresh();
    await clock.advance(4000);
    assert.deepEqual(call.refusal, ['UNAVAILABLE', 'default could not be signed yet']);
  });

  it('sends what there is while another name is waited for', async () => {
    const { open, state, clock } = daemon();
    state.trustDomains = [OWN, PARTNER];
    const { call, ask } = open();
    await ask('default', 'spiffe://partner.example');
    assert.deepEqual(
      call.last.secrets.map(({ name }) => name),
      ['default'],
    );
    await clock.advance(5000);
    assert.deepEqual(call.refusal, [
      'UNAVAILABLE',
      'no trust bundle of partner.example is known yet',
    ]);
  });

  it('sends each of many names once it is signed, and counts the time from the last', async () => {
    const { open, state, held, renew, refresh, clock } = daemon();
    const ids = ['a', 'b', 'c'].map((name) => parseSpiffeId(`spiffe://example.org/${name}`));
    state.identities = ids.map((id) => entitlement(id));
    held.clear();
    const { call, ask, stream } = open();
    await ask(...ids);
    for (const id of ids.slice(0, 2)) {
      await clock.advance(4000);
      renew(id, '01');
      await refresh();
      assert.deepEqual(
        call.last.secrets.map(({ name }) => name),
        [id],
      );
    }
    assert.deepEqual(stream.snapshot().waiting, [`${ids[2]} is being signed`]);
    await clock.advance(4999);
    assert.equal(call.ended, undefined);
    await clock.advance(1);
    assert.deepEqual(call.refusal, ['UNAVAILABLE', `${ids[2]} is being signed`]);
  });

  it('takes neither a renewal nor another name for progress', async () => {
    const { open, state, renew, refresh, clock } = daemon();
    state.trustDomains = [OWN, PARTNER];
    const { call, ask, ack } = open();
    await ask('default', 'spiffe://partner.example');
    await clock.advance(3000);
    renew(WEB, '02');
    await refresh();
    await ack('default', 'spiffe://partner.example', 'ROOTCA');
    assert.equal(call.responses.length, 3);
    await clock.advance(2000);
    assert.equal(call.refusal[0], 'UNAVAILABLE');
  });

  it('does not end a reader that stood still when what it waits for is there', async () => {
    const { open, state, renew, refresh, clock } = daemon();
    state.identities = [entitlement(WEB), entitlement(API)];
    const { call, ask } = open();
    call.stopped = true;
    await ask('default', API);
    renew(API, '01');
    await refresh();
    await clock.advance(60_000);
    assert.equal(call.ended, undefined);
    call.resume();
    await settle();
    assert.equal(call.last.secrets[0]?.name, API);
    assert.equal(clock.timers, 0);
  });

  it('ends a reader that stood still 5 s after it goes on, if that is still not there', async () => {
    const { open, state, bundles, refresh, clock } = daemon();
    state.identities = [entitlement(WEB), entitlement(API)];
    const { call, ask } = open();
    call.stopped = true;
    await ask('default', 'ROOTCA', API);
    bundles.set(OWN, fakeBundle(OWN, 2));
    await refresh();
    await clock.advance(60_000);
    call.resume();
    await settle();
    await clock.advance(4999);
    assert.equal(call.ended, undefined);
    await clock.advance(1);
    assert.deepEqual(call.refusal, ['UNAVAILABLE', `${API} is being signed`]);
  });

  it('ends when attestation takes too long, and gives the result up', async () => {
    const { open, state, clock, readers, caller } = daemon();
    let attest: (who: Caller) => void = () => undefined;
    state.attested = new Promise((resolve) => (attest = resolve));
    const { call, ask } = open();
    await ask('default');
    await clock.advance(5000);
    assert.deepEqual(call.refusal, ['UNAVAILABLE', 'the process has not been attested yet']);
    attest(caller);
    await settle();
    assert.equal(readers.size, 0);
  });

  it('ends with a reason that tells nothing when attestation fails', async () => {
    const { open, state } = daemon();
    state.attested = Promise.reject(new Error('EACCES /proc/7/status'));
    const { call, ask } = open();
    await ask('default');
    assert.equal(call.refusal[0], 'UNAVAILABLE');
    assert.ok(!call.refusal[1]?.includes('/proc'));
  });
});
