import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decodeDeltaResponse, encodeDeltaRequest } from '../support/delta-proxy.ts';
import { eventually } from '../support/eventually.ts';
import {
  callHeaders,
  data,
  END_HEADERS,
  FRAME,
  frame,
  grpcMessage,
  headerBlock,
  OPENING,
  SETTINGS_ACK,
} from '../support/http2-frames.ts';
import { startServing } from '../support/protocol-client-serving.ts';
import { connectRaw, type RawPeer } from '../support/raw-peer.ts';

const STREAMS = 1000;
/** Calls of one read; more would be held back in favour of others. */
const SLICE = 50;
/** No multiple of three: there are three bundles, and the last is not to be the first. */
const BUNDLE_CHANGES = 7;
/** Responses that fit into the buffers between two processes; Linux has some 200 kB for a socket. */
const IN_KERNEL = 500;

const HEADERS = headerBlock(callHeaders('DeltaSecrets'));
const ASK = grpcMessage(encodeDeltaRequest({ subscribe: ['ROOTCA'] }));
/** As much as a connection may ever be allowed (RFC 9113 6.9.1). */
const WIDE = frame(FRAME.windowUpdate, 0, 0, Buffer.of(0x7f, 0xff, 0, 0));

/** A connection with `STREAMS` streams, each of which has asked for the bundle and has it. */
async function subscribed(path: string): Promise<RawPeer> {
  const peer = await connectRaw(path);
  await peer.write(Buffer.concat([OPENING, SETTINGS_ACK, WIDE]));
  for (let n = 0; n < STREAMS; n += SLICE) {
    const calls = Array.from({ length: SLICE }, (_, k) => {
      const id = 2 * (n + k) + 1;
      return [frame(FRAME.headers, END_HEADERS, id, HEADERS), data(id, ASK)];
    });
    await peer.write(Buffer.concat(calls.flat()));
    const answered = () => responses(peer).size >= n + SLICE;
    await eventually(answered, { what: `${n + SLICE} streams are served` });
  }
  return peer;
}

/** Bytes of the DATA of each stream. */
function responses(peer: RawPeer): Map<number, Buffer[]> {
  const byStream = new Map<number, Buffer[]>();
  for (const { type, stream, payload } of peer.frames()) {
    if (type !== FRAME.data || payload.length === 0) continue;
    const known = byStream.get(stream);
    if (known) known.push(payload);
    else byStream.set(stream, [payload]);
  }
  return byStream;
}

/** How many messages there are, and the version of the last one. */
function read(pieces: readonly Buffer[]): { readonly count: number; readonly version: string } {
  const bytes = Buffer.concat(pieces);
  let count = 0;
  let last: Buffer | undefined;
  for (let at = 0; at + 5 <= bytes.length; count++) {
    const end = at + 5 + bytes.readUInt32BE(at + 1);
    last = bytes.subarray(at + 5, end);
    at = end;
  }
  assert.ok(last);
  return { count, version: decodeDeltaResponse(last).resources[0]?.version ?? '' };
}

describe('a reader that stops in a push to 5,000 streams', { timeout: 120_000 }, () => {
  it('costs one response of each stream, holds nobody up and then gets the newest', async () => {
    await using daemon = await startServing(5, 'limits: { requests_per_second: 1000000 }');
    const peers: RawPeer[] = [];
    for (let n = 0; n < 5; n++) peers.push(await subscribed(daemon.path(n)));
    const [stopped, ...others] = peers;
    assert.ok(stopped);
    stopped.pause(true);
    for (let change = 1; change <= BUNDLE_CHANGES; change++) {
      daemon.setMoreRoots(change % 3);
      const served = async () => {
        // Again each time: what is marked while the last change is still served has its turn later.
        await daemon.advance(6);
        return others.every((peer) => {
          const all = [...responses(peer).values()];
          return all.every((pieces) => read(pieces).count === change + 1);
        });
      };
      await eventually(served, { what: 'all others have the new bundle' });
    }
    // It stands still for a minute: nobody gives up on it.
    await daemon.advance(60_000);
    const mine = daemon.serving.streams().filter(({ credentials }) => credentials.uid === 0);
    assert.equal(mine.length, STREAMS);
    // Nothing was ever answered: all that was written since it stopped is here.
    const written = mine.reduce((sum, { unanswered }) => sum + unanswered - 1, 0);
    assert.ok(written <= STREAMS + IN_KERNEL, `${written} responses are held`);
    stopped.pause(false);
    const [other] = others;
    const newest = read(responses(other ?? stopped).get(1) ?? []).version;
    const caughtUp = () =>
      [...responses(stopped).values()].every((pieces) => read(pieces).version === newest);
    await eventually(caughtUp, { what: 'the reader has the newest bundle on each stream' });
    const counts = [...responses(stopped).values()].map((pieces) => read(pieces).count);
    const sum = counts.reduce((all, count) => all + count, 0);
    assert.ok(sum <= 3 * STREAMS + IN_KERNEL, `${sum} responses to ${STREAMS} streams`);
    for (const peer of peers) peer.close();
    await eventually(() => daemon.serving.streams().length === 0, { what: 'all is forgotten' });
  });
});
