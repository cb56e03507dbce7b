import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { constants } from 'node:http2';
import { eventually } from '../support/eventually.ts';
import { FRAME, frame, OPENING, openCall, SETTINGS_ACK } from '../support/http2-frames.ts';
import { startServing, type TestServing } from '../support/protocol-client-serving.ts';
import { connectRaw, type RawPeer } from '../support/raw-peer.ts';

const LIMIT = 4;
/** Number of SETTINGS_MAX_CONCURRENT_STREAMS. */
const MAX_CONCURRENT_STREAMS = 3;

/** So many calls, from the n-th stream of a connection on. */
const calls = (count: number, from = 0) =>
  Buffer.concat(Array.from({ length: count }, (_, n) => openCall(2 * (from + n) + 1)));
const reset = (n: number) => frame(FRAME.reset, 0, 2 * n + 1, Buffer.of(0, 0, 0, 8));

describe('limits.streams_per_connection', { timeout: 60_000 }, () => {
  let daemon: TestServing;
  before(async () => {
    daemon = await startServing(1, `limits: { streams_per_connection: ${LIMIT} }`);
  });
  beforeEach(() => {
    // One that was blamed often would be kept out.
    daemon.endProcess(0);
    daemon.log.lines.length = 0;
  });
  after(() => daemon[Symbol.asyncDispose]());

  const limited = async () => {
    const metric = await daemon.registry.getSingleMetric('credence_sds_limited_total')?.get();
    const own = metric?.values.find(({ labels }) => labels['limit'] === 'streams_per_connection');
    return own?.value ?? assert.fail('the limit is not counted');
  };
  const streams = (count: number) =>
    eventually(() => daemon.serving.streams().length === count, { what: `${count} streams` });
  const has = (peer: RawPeer, type: number, count = 1) =>
    eventually(() => peer.frames().filter((one) => one.type === type).length >= count, {
      what: `${count} frames of type ${type}`,
    });

  /** A connection that sends this after its opening. */
  async function connected(...frames: readonly Buffer[]): Promise<RawPeer> {
    const peer = await connectRaw(daemon.path(0));
    await peer.write(Buffer.concat([OPENING, ...frames]));
    return peer;
  }

  /** A connection whose peer knows the limit. */
  async function knowing(): Promise<RawPeer> {
    const peer = await connected();
    await has(peer, FRAME.settings, 2);
    await peer.write(SETTINGS_ACK);
    return peer;
  }

  it('is told to the peer, so that it opens another connection for more', async () => {
    using peer = await knowing();
    const [settings] = peer.frames();
    const at = [0, 6, 12].find((n) => settings?.payload.readUInt16BE(n) === MAX_CONCURRENT_STREAMS);
    assert.equal(settings?.payload.readUInt32BE((at ?? assert.fail()) + 2), LIMIT);
  });

  it('closes, counts, logs and blames a connection that knows it and goes on', async () => {
    const counted = await limited();
    for (let n = 1; n <= 3; n++) {
      using peer = await knowing();
      await peer.write(calls(LIMIT));
      await streams(LIMIT);
      assert.equal(await limited(), counted + n - 1);
      await peer.write(calls(1, LIMIT));
      await peer.untilClosed();
      await streams(0);
      assert.ok(peer.frames().some(({ type }) => type === FRAME.goAway));
      await eventually(async () => (await limited()) === counted + n, { what: 'it is counted' });
    }
    const reason = 'too many streams at once';
    const closed = daemon.log.lines.filter(({ message }) => message === 'connection closed');
    assert.deepEqual(
      closed.map(({ level, fields }) => [level, fields['reason']]),
      [1, 2, 3].map(() => ['warn', reason]),
    );
    using fourth = await connected();
    await fourth.untilClosed();
    assert.equal(daemon.log.count('warn', 'connection refused'), 1);
  });

  it('refuses streams of a peer that cannot know it yet, and blames it for nothing', async () => {
    const counted = await limited();
    using peer = await connected(calls(LIMIT + 2));
    await has(peer, FRAME.reset, 2);
    const resets = peer.frames().filter(({ type }) => type === FRAME.reset);
    assert.deepEqual(
      resets.map(({ stream, payload }) => [stream, payload.readUInt32BE(0)]),
      [LIMIT, LIMIT + 1].map((n) => [2 * n + 1, constants.NGHTTP2_REFUSED_STREAM]),
    );
    await streams(LIMIT);
    assert.deepEqual([await limited(), peer.closed], [counted, false]);
    assert.equal(daemon.log.count('info', 'connection has as many streams as it may'), 1);
  });

  it('closes and counts a connection that is refused a thousand streams, without blame', async () => {
    const counted = await limited();
    for (let n = 1; n <= 4; n++) {
      using peer = await connected(calls(LIMIT + 1100));
      await peer.untilClosed();
      await eventually(async () => (await limited()) === counted + n, { what: 'it is counted' });
    }
    assert.equal(daemon.log.count('warn', 'connection closed'), 4);
    using fifth = await knowing();
    assert.equal(fifth.closed, false);
  });

  it('lets a peer have new streams in the place of those it has ended', async () => {
    const counted = await limited();
    using peer = await knowing();
    for (let n = 0; n < 20; n++) {
      const [from, before] = [n * LIMIT, (n - 1) * LIMIT];
      const resets = n === 0 ? [] : Array.from({ length: LIMIT }, (_, k) => reset(before + k));
      await peer.write(Buffer.concat(resets));
      // In one packet with the resets Node 24 would take the new ones for too many.
      await streams(0);
      await peer.write(calls(LIMIT, from));
      await streams(LIMIT);
    }
    await peer.write(reset(19 * LIMIT));
    await streams(LIMIT - 1);
    assert.deepEqual([await limited(), peer.closed], [counted, false]);
  });

  it('counts no other protocol error as this one', async () => {
    const counted = await limited();
    using peer = await knowing();
    await peer.write(calls(LIMIT - 1));
    await streams(LIMIT - 1);
    // Even streams are the server's.
    await peer.write(openCall(2));
    await peer.untilClosed();
    await streams(0);
    assert.equal(await limited(), counted);
  });
});
