import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fakeSvid, WEB } from '../../test/support/identities.ts';
import { daemon } from '../../test/support/secret-stream.ts';
import { IdentityError } from '../core/errors.ts';

describe('SecretStream that ends', () => {
  it('writes nothing to a process that is not alive any more', async () => {
    const { open, caller, renew, refresh } = daemon();
    const { call, ask } = open();
    await ask('default');
    renew(WEB, '02');
    caller.kill();
    await refresh();
    assert.equal(call.responses.length, 1);
    assert.equal(call.refusal[0], 'UNAVAILABLE');
  });

  it('ends when it is told that the process is gone', async () => {
    const { open, state } = daemon();
    const { call, ask, stream } = open();
    await ask('default');
    stream.gone(new IdentityError('ERR_PEER_GONE', 'pid 7 ended'));
    assert.equal(call.refusal[0], 'UNAVAILABLE');
    assert.equal(state.closed, 1);
  });

  for (const [how, finish] of [
    ['half-closes', 'end'],
    ['resets', 'cancelled'],
    ['vanishes', 'close'],
  ] as const) {
    it(`lets go of everything when the proxy ${how}, and reads no more`, async () => {
      const { open, held, state, clock, refresh } = daemon();
      held.clear();
      const { call, ask } = open();
      await ask('default');
      assert.equal(clock.timers, 1);
      call.emit(finish);
      assert.deepEqual([state.closed, clock.timers], [1, 0]);
      await ask('ROOTCA');
      await refresh();
      call.emit('close');
      assert.deepEqual([state.closed, call.responses.length], [1, 0]);
    });
  }

  it('ends with INVALID_ARGUMENT for what is no request', async () => {
    const { open } = daemon();
    const malformed = open();
    const error = new IdentityError('ERR_BAD_REQUEST', 'not a protobuf message');
    malformed.call.emit('data', { kind: 'malformed', error });
    assert.deepEqual(malformed.call.refusal, ['INVALID_ARGUMENT', 'not a protobuf message']);
    const wrong = open();
    await wrong.send({ typeUrl: 'type.googleapis.com/other', resourceNames: ['default'] });
    assert.equal(wrong.call.refusal[0], 'INVALID_ARGUMENT');
  });

  it('ends a flood of requests, and lets as many acknowledgements pass as there are pushes', async () => {
    const { open, renew, refresh, registry } = daemon();
    const calm = open();
    await calm.ask('default');
    for (let n = 2; n < 500; n++) {
      renew(WEB, `${n}`);
      await refresh();
      await calm.ack('default');
    }
    assert.equal(calm.call.ended, undefined);
    const flood = open();
    await flood.ask('default');
    for (let n = 0; n < 500 && !flood.call.ended; n++) {
      await flood.ack(n % 2 === 0 ? 'ROOTCA' : 'default');
    }
    assert.equal(flood.call.refusal[0], 'RESOURCE_EXHAUSTED');
    assert.match(await registry.metrics(), /credence_sds_limited_total\{limit="requests"\} 1/);
  });

  it('keeps a fault of its own to itself and its message from the peer', async () => {
    const { open, held, log } = daemon();
    const broken = { ...fakeSvid(WEB), chainPem: Buffer.alloc(0) };
    held.set(WEB, { svid: broken, renewAtMs: 0, dueAtMs: undefined });
    const { call, ask } = open();
    await ask('default');
    assert.deepEqual(call.refusal, ['INTERNAL', 'credence failed to answer, see its log']);
    assert.equal(log.count('error', 'stream ended'), 1);
  });

  it('writes no more about hostile names than fits a line', async () => {
    const { open, log } = daemon();
    const { call, ask } = open();
    const names = Array.from({ length: 2000 }, (_, n) => `spiffe://example.org/${n}`);
    await ask(...names, 'x'.repeat(2000));
    assert.ok((call.refusal[1]?.length ?? 0) <= 512);
    for (const line of log.lines) assert.ok(JSON.stringify(line).length < 12_000);
  });
});
