import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { IdentityError } from '../core/errors.ts';
import { createPictures, type Look } from './pictures.ts';
import type { StatusAnswer, StatusPage } from './view.ts';

const status = (nodeName: string): StatusPage => ({
  version: '1',
  nodeName,
  trustDomain: 'td',
  startedAtMs: 0,
  notReady: [],
  policy: {
    entries: 0,
    revision: null,
    loadedAtMs: null,
    warnings: 0,
    lastError: null,
    lastErrorAtMs: null,
  },
  authorities: [],
  bundleReaders: { readers: 0, behind: 0 },
  upstream: null,
  rotation: { held: 0, due: 0, earliestNotAfterMs: null },
  proxies: [],
});

/** A daemon that can be changed, and how often it was asked. */
function setUp() {
  const clock = new FakeClock();
  const daemon = { node: 'a', lost: false, asked: 0, nowMs: 5000 };
  const look: Look = () => {
    daemon.asked++;
    return daemon.lost
      ? Promise.reject(new IdentityError('ERR_UNREACHABLE', 'nobody listens'))
      : Promise.resolve({ status: status(daemon.node), nowMs: daemon.nowMs });
  };
  return { clock, daemon, picture: createPictures(look, clock) };
}

const answerOf = ({ body }: { body: Buffer }) => JSON.parse(body.toString()) as StatusAnswer;

describe('createPictures()', () => {
  it('asks once for all who ask at about the same time', async () => {
    const { clock, daemon, picture } = setUp();
    const [one, two] = await Promise.all([picture(), picture()]);
    assert.equal(one, two);
    await clock.advance(499);
    assert.equal(await picture(), one);
    assert.equal(daemon.asked, 1);
    await clock.advance(1);
    await picture();
    assert.equal(daemon.asked, 2);
  });

  it('has the same tag for the same status, whatever the time', async () => {
    const { clock, daemon, picture } = setUp();
    const first = await picture();
    await clock.advance(1000);
    daemon.nowMs = 6000;
    const second = await picture();
    assert.equal(second.etag, first.etag);
    assert.equal(second.nowMs(), 6000);
    daemon.node = 'b';
    await clock.advance(1000);
    assert.notEqual((await picture()).etag, first.etag);
  });

  it("goes on counting the daemon's time from where it was", async () => {
    const { clock, picture } = setUp();
    const first = await picture();
    await clock.advance(250);
    assert.equal(first.nowMs(), 5250);
  });

  it('says since when the daemon cannot be reached, without a tag, until it can', async () => {
    const { clock, daemon, picture } = setUp();
    await picture();
    await clock.advance(1000);
    daemon.lost = true;
    const sinceMs = clock.now();
    for (let n = 0; n < 2; n++) {
      const lost = await picture();
      assert.deepEqual(answerOf(lost), { kind: 'unreachable', reason: 'nobody listens', sinceMs });
      assert.equal(lost.etag, undefined);
      assert.equal(lost.nowMs(), clock.now());
      await clock.advance(1000);
    }
    daemon.lost = false;
    assert.equal(answerOf(await picture()).kind, 'status');
    daemon.lost = true;
    await clock.advance(1000);
    const again = answerOf(await picture());
    assert.equal(again.kind === 'unreachable' && again.sinceMs, clock.now());
  });
});
