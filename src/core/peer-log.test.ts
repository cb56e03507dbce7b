import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeLogger } from '../../test/support/issuer.ts';
import { createPeerLog } from './peer-log.ts';

describe('createPeerLog()', () => {
  it('writes the first lines of a peer and puts the rest to debug', () => {
    const lines = new FakeLogger();
    const log = createPeerLog(lines, new FakeClock());
    for (let n = 0; n < 1000; n++) log.info({ peer_pid: 1 }, 'refused');
    assert.equal(lines.count('info', 'refused'), 10);
    assert.equal(lines.count('debug', 'refused'), 990);
  });

  it('says how many lines it left out', async () => {
    const lines = new FakeLogger();
    const clock = new FakeClock();
    const log = createPeerLog(lines, clock);
    for (let n = 0; n < 15; n++) log.info({ peer_pid: 1 }, 'refused');
    await clock.advance(2000);
    log.warn({ peer_pid: 1, code: 'ERR_DENIED' }, 'refused again');
    assert.deepEqual(lines.lines.at(-1), {
      level: 'warn',
      message: 'refused again',
      fields: { peer_pid: 1, code: 'ERR_DENIED', count: 5 },
    });
    log.warn({ peer_pid: 2 }, 'another');
    assert.equal(lines.lines.at(-1)?.fields.count, undefined);
  });

  it('lets one peer not silence another', () => {
    const lines = new FakeLogger();
    const log = createPeerLog(lines, new FakeClock());
    for (let n = 0; n < 1000; n++) log.info({ peer_pid: 1 }, 'refused');
    log.info({ peer_pid: 2 }, 'mine');
    assert.equal(lines.count('info', 'mine'), 1);
  });

  it('bounds the lines of a peer that forks', () => {
    const lines = new FakeLogger();
    const log = createPeerLog(lines, new FakeClock());
    for (let n = 0; n < 10_000; n++) log.error({ peer_pid: n }, 'refused');
    assert.equal(lines.count('error', 'refused'), 200);
  });
});
