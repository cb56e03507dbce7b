import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import {
  data,
  FRAME,
  frame,
  grpcMessage,
  OPENING,
  openCall,
} from '../../test/support/http2-frames.ts';
import { eventually } from '../../test/support/eventually.ts';
import { connectRaw } from '../../test/support/raw-peer.ts';
import { systemClock } from '../core/clock.ts';
import { createCallTurns } from './call-turns.ts';
import { guardHttp2 } from './http2-guard.ts';
import { secretDiscoveryService } from './service.ts';

/** A server that does nothing but what grpc-js does, behind the guard. */
async function guarded(t: TestContext, maxBufferedBytes = 1_000_000) {
  const offences: string[] = [];
  const pauses: boolean[] = [];
  const sockets = new Map<string, Socket>();
  const server = new Server({ 'grpc.max_receive_message_length': 100_000 });
  let calls = 0;
  const marks = new Set<string>();
  const open = (call: ServerDuplexStream<unknown, Buffer>) => {
    calls++;
    for (const mark of call.metadata.get('x-mark')) marks.add(String(mark));
    call.on('data', () => undefined);
    call.on('error', () => undefined);
  };
  server.addService(secretDiscoveryService({ maxNames: 10, maxNameBytes: 10 }), {
    StreamSecrets: open,
    DeltaSecrets: open,
    FetchSecrets: () => undefined,
  });
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  guardHttp2(server, {
    maxMessageBytes: 100_000,
    maxBufferedBytes,
    streamsPerConnection: 10_000,
    clock: systemClock,
    turns: createCallTurns(systemClock),
    peerOf: () => ({ pid: 1, uid: 1, gid: 1 }),
    onTooLarge: () => undefined,
    onGreeting: () => undefined,
    pauseReading: (_, paused) => void pauses.push(paused),
    closeConnection(id, reason) {
      offences.push(reason);
      setImmediate(() => sockets.get(id ?? '')?.destroy());
    },
    onFull: () => undefined,
    onClosed: (_, reason) => void offences.push(reason),
  });
  const folder = mkdtempSync(join(tmpdir(), 'credence-guard-'));
  const listener = createServer((socket) => {
    const id = `peer-${sockets.size}`;
    sockets.set(id, socket);
    Object.defineProperty(socket, 'remoteAddress', { value: id });
    socket.on('error', () => undefined);
    injector.injectConnection(socket);
  }).listen(join(folder, 'sock'));
  await once(listener, 'listening');
  t.after(() => {
    listener.close();
    server.forceShutdown();
    rmSync(folder, { recursive: true });
  });
  return {
    offences,
    pauses,
    calls: () => calls,
    marks,
    connect: async () => {
      const peer = await connectRaw(join(folder, 'sock'));
      t.after(() => peer.close());
      await peer.write(OPENING);
      return peer;
    },
  };
}

const begin = (id: number) =>
  Buffer.concat([openCall(id), data(id, grpcMessage(Buffer.alloc(0), { length: 100_000 }))]);

describe('guardHttp2()', () => {
  it('closes a connection that sends a message in tiny pieces', async (t) => {
    const { connect, offences } = await guarded(t);
    const peer = await connect();
    await peer.write(begin(1));
    await peer.write(Buffer.concat(Array.from({ length: 500 }, () => data(1, Buffer.of(1)))));
    await peer.untilClosed();
    assert.deepEqual(offences, ['message_pieces']);
  });

  it('closes the connection that holds most, when all hold too much', async (t) => {
    const { connect, offences } = await guarded(t);
    const [small, large] = [await connect(), await connect()];
    await small.write(Buffer.concat([begin(1), data(1, Buffer.alloc(16_000))]));
    for (let id = 1; id < 60; id += 2) {
      await large.write(
        Buffer.concat([begin(id), ...[1, 2, 3].map(() => data(id, Buffer.alloc(16_000)))]),
      );
    }
    await large.untilClosed();
    assert.deepEqual([offences, small.closed], [['unfinished_messages'], false]);
  });

  it('counts nothing any more of streams that are gone', async (t) => {
    const { connect, offences, calls } = await guarded(t);
    const peer = await connect();
    for (let n = 0; n < 100; n++) {
      const id = 2 * n + 1;
      await peer.write(Buffer.concat([begin(id), data(id, Buffer.alloc(16_000))]));
      // One that is gone before its turn is not counted at all.
      await eventually(() => calls() === n + 1, { what: `call ${n}` });
      await peer.write(frame(FRAME.reset, 0, id, Buffer.of(0, 0, 0, 8)));
    }
    const other = await connect();
    await other.write(begin(1));
    await eventually(() => calls() === 101, { what: 'the call of the other' });
    assert.deepEqual(offences, []);
  });

  it('closes a connection before nghttp2 gives it up for its resets', async (t) => {
    const { connect, offences } = await guarded(t);
    const peer = await connect();
    for (let id = 1; id < 4000 && !peer.closed; id += 2) {
      await peer.write(
        Buffer.concat([openCall(id), frame(FRAME.reset, 0, id, Buffer.of(0, 0, 0, 8))]),
      );
    }
    await peer.untilClosed();
    assert.equal(peer.closed, true);
    // Newer Node closes such a connection by itself, and may be first.
    assert.ok(offences.every((reason) => reason === 'resets'));
    const older = Number(process.versions.node.split('.')[0]) < 22;
    if (older) assert.equal(offences.length, 1);
  });

  it('lets a proxy reset as many streams as it may have', async (t) => {
    const { connect, offences, marks } = await guarded(t);
    const peer = await connect();
    for (let id = 1; id < 1600; id += 2) {
      await peer.write(
        Buffer.concat([openCall(id), frame(FRAME.reset, 0, id, Buffer.of(0, 0, 0, 8))]),
      );
    }
    await peer.write(openCall(1601, [['x-mark', 'last']]));
    await eventually(() => marks.has('last'), { what: 'the last call' });
    assert.deepEqual([offences, peer.closed], [[], false]);
  });

  it('reads no more of a connection until its calls have had their turn', async (t) => {
    const { connect, pauses, calls } = await guarded(t);
    const peer = await connect();
    await peer.write(Buffer.concat(Array.from({ length: 90 }, (_, n) => openCall(2 * n + 1))));
    await eventually(() => calls() === 90, { what: 'all calls' });
    assert.deepEqual(pauses, [true, false]);
  });
});
