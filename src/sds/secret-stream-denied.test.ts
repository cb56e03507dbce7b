import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { API, entitlement, WEB } from '../../test/support/identities.ts';
import { daemon } from '../../test/support/secret-stream.ts';

describe('SecretStream that is denied', () => {
  it('refuses a name once, parks it the second time and refuses it again', async () => {
    const { open, clock, registry } = daemon();
    const first = open();
    await first.ask(API);
    assert.deepEqual(first.call.refusal, [
      'PERMISSION_DENIED',
      `no policy entry for this process grants ${API}`,
    ]);
    const second = open();
    await second.ask(API);
    assert.equal(second.call.ended, undefined);
    assert.equal(second.stream.snapshot().waiting.length, 1);
    await clock.advance(29_999);
    assert.equal(second.call.ended, undefined);
    await clock.advance(1);
    assert.equal(second.call.refusal[0], 'PERMISSION_DENIED');
    const denied = await registry.getSingleMetricAsString('credence_policy_denied_total');
    assert.match(denied, /reason="no_entry"\} 2$/m);
  });

  it('sends a grant that arrives to a parked stream at once', async () => {
    const { open, state, renew, refresh, clock } = daemon();
    await open().ask(API);
    const { call, ask } = open();
    await ask(API);
    await clock.advance(20_000);
    state.identities = [entitlement(WEB), entitlement(API)];
    renew(API, '01');
    await refresh();
    assert.equal(call.last.secrets[0]?.name, API);
    await clock.advance(60_000);
    assert.equal(call.ended, undefined);
  });

  it('parks one name no longer because another one was granted meanwhile', async () => {
    const { open, state, renew, refresh, clock } = daemon();
    const other = 'spiffe://example.org/other';
    for (const name of [API, other]) await open().ask(name);
    const { call, ask } = open();
    await ask(API, other);
    await clock.advance(20_000);
    state.identities = [entitlement(API)];
    renew(API, '01');
    await refresh();
    assert.equal(call.last.secrets[0]?.name, API);
    await clock.advance(10_000);
    assert.deepEqual(call.refusal, [
      'PERMISSION_DENIED',
      `no policy entry for this process grants ${other}`,
    ]);
  });

  it('gives a granted name its own time to be signed after it was parked', async () => {
    const { open, state, held, refresh, clock } = daemon();
    await open().ask(API);
    const { call, ask } = open();
    await ask(API);
    await clock.advance(29_000);
    state.identities = [entitlement(API)];
    held.clear();
    await refresh();
    await clock.advance(4999);
    assert.equal(call.ended, undefined);
    await clock.advance(1);
    assert.deepEqual(call.refusal, ['UNAVAILABLE', `${API} is being signed`]);
  });

  it('does not park when that is switched off, nor what no policy could grant', async () => {
    const off = daemon({ deniedParkMs: 0 });
    const on = daemon();
    for (let n = 0; n < 2; n++) {
      const denied = off.open();
      await denied.ask(API);
      assert.equal(denied.call.refusal[0], 'PERMISSION_DENIED');
      const unknown = on.open();
      await unknown.ask('sds://x');
      assert.equal(unknown.call.refusal[0], 'PERMISSION_DENIED');
    }
    const denied = await on.registry.getSingleMetricAsString('credence_policy_denied_total');
    assert.match(denied, /reason="unknown_name"\} 2$/m);
  });

  it('sends the good names of a parked stream', async () => {
    const { open } = daemon();
    await open().ask('default', API);
    const { call, ask } = open();
    await ask('default', API);
    assert.deepEqual(
      call.last.secrets.map(({ name }) => name),
      ['default'],
    );
    assert.equal(call.ended, undefined);
  });

  it('goes on waiting for a parked name when another one of the stream is renewed', async () => {
    const { open, renew, refresh, clock } = daemon();
    await open().ask('default', API);
    const { call, ask, ack } = open();
    await ask('default', API);
    await ack('default', API);
    await clock.advance(5000);
    renew(WEB, '02');
    await refresh();
    assert.equal(call.responses.length, 2);
    await clock.advance(24_999);
    assert.equal(call.ended, undefined);
    await clock.advance(1);
    assert.equal(call.refusal[0], 'PERMISSION_DENIED');
  });

  it('says at once that a name is withdrawn, also one that was refused before', async () => {
    const { open, state, refresh } = daemon();
    const granted = state.identities;
    const refusal = ['PERMISSION_DENIED', 'no policy entry for this process grants default'];
    state.identities = [];
    const first = open();
    await first.ask('default');
    assert.deepEqual(first.call.refusal, refusal);
    state.identities = granted;
    const { call, ask } = open();
    await ask('default');
    assert.equal(call.responses.length, 1);
    state.identities = [];
    await refresh();
    assert.deepEqual(call.refusal, refusal);
  });

  it('parks a name that is asked for again once it was withdrawn', async () => {
    const { open, state, refresh } = daemon();
    const first = open();
    await first.ask('default');
    state.identities = [];
    await refresh();
    assert.equal(first.call.refusal[0], 'PERMISSION_DENIED');
    const { call, stream, ask } = open();
    await ask('default');
    assert.equal(call.ended, undefined);
    assert.equal(stream.snapshot().waiting.length, 1);
  });

  it('says a refusal in the log once, and again what is withdrawn', async () => {
    const { open, log, state, refresh } = daemon();
    const lines = () =>
      ['info', 'debug'].map((level) => log.count(level, 'secret refused')).join('+');
    for (let n = 0; n < 3; n++) await open().ask('sds://x');
    assert.equal(lines(), '1+2');
    await open().ask('sds://y');
    assert.equal(lines(), '2+2');
    const granted = state.identities;
    for (let n = 0; n < 2; n++) {
      state.identities = granted;
      await open().ask('default');
      state.identities = [];
      await refresh();
    }
    assert.equal(lines(), '4+2');
  });

  it('knows what a process goes on using of a name that is now refused', async () => {
    const { open, state, refresh } = daemon();
    const first = open();
    await first.ask('default');
    await first.ack('default');
    state.identities = [];
    await refresh();
    const { stream, ask } = open();
    await ask('default');
    const [secret] = stream.snapshot().resources;
    assert.equal(secret?.inUse?.svid?.serial, '01');
  });
});
