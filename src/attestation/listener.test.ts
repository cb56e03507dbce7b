import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { eventually } from '../../test/support/eventually.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { systemClock } from '../core/clock.ts';
import { silentLogger } from '../core/log.ts';
import type { PeerConnection } from './attestation.ts';
import { listenForPeers, type ListenerOptions, type PeerListener } from './listener.ts';

describe('listenForPeers()', () => {
  let folder: string;
  let closed: string[];
  let count: number;
  let admitting: boolean;
  let listener: PeerListener | undefined;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'credence-listener-'));
    closed = [];
    count = 0;
    admitting = true;
    listener = undefined;
  });
  afterEach(() => {
    listener?.close();
    rmSync(folder, { recursive: true });
  });

  function options(
    paths: readonly string[],
    onConnection: (socket: Socket) => void,
  ): ListenerOptions {
    // A socket of an earlier test may still be about to close.
    const own = closed;
    const accept = (): PeerConnection => {
      const id = `peer-${++count}`;
      return {
        id,
        credentials: { pid: 1, uid: 0, gid: 0 },
        caller: () => Promise.reject(new Error('nobody asks')),
        close: () => void own.push(id),
      };
    };
    return {
      ...{ paths, attestation: { accept }, onConnection, clock: systemClock, log: silentLogger },
      admits: () => admitting,
    };
  }

  it('closes a connection that could not be taken over, and takes the next', async () => {
    const path = join(folder, 'api.sock');
    const served: string[] = [];
    listener = await listenForPeers(
      options([path], (socket) => {
        if (count === 1) throw new Error('not this one');
        served.push(String(socket.remoteAddress));
        socket.end('welcome');
      }),
    );
    const first = connect(path).resume();
    await once(first, 'close');
    assert.deepEqual(closed, ['peer-1']);
    const second = connect(path);
    const [text] = (await once(second, 'data')) as [Buffer];
    assert.equal(text.toString(), 'welcome');
    assert.deepEqual(served, ['peer-2']);
    second.destroy();
  });

  it('survives a peer that resets its connection, and lets go of the process once', async () => {
    const path = join(folder, 'api.sock');
    let accepted: Socket | undefined;
    listener = await listenForPeers(options([path], (socket) => (accepted = socket)));
    const socket = connect(path);
    await once(socket, 'connect');
    // What the peer had not read turns its end into a reset.
    while (!accepted) await new Promise((resolve) => setImmediate(resolve));
    accepted.write(Buffer.alloc(65536));
    const gone = new Promise((resolve) => accepted?.once('close', resolve));
    accepted.resume();
    socket.destroy();
    await gone;
    assert.deepEqual(closed, ['peer-1']);
  });

  it('closes a connection that is not worth any work, and takes the next', async () => {
    const path = join(folder, 'api.sock');
    listener = await listenForPeers(options([path], (socket) => socket.destroy()));
    admitting = false;
    await once(connect(path).resume(), 'close');
    assert.equal(count, 0);
    admitting = true;
    await once(connect(path).resume(), 'close');
    assert.equal(count, 1);
  });

  it('puts back each of its names that is taken away, and still admits whom it did', async () => {
    const paths = [join(folder, 'api.sock'), join(folder, 'extra.sock')];
    const clock = new FakeClock();
    const reasons: string[] = [];
    const lost = (reason: string) => (reasons.push(reason), () => undefined);
    const base = options(paths, (socket) => socket.end('welcome'));
    listener = await listenForPeers({ ...base, clock, lost });
    for (const path of paths) unlinkSync(path);
    await clock.advance(2000);
    for (const path of paths) {
      await eventually(() => existsSync(path), { what: path });
      const [text] = (await once(connect(path), 'data')) as [Buffer];
      assert.equal(text.toString(), 'welcome');
    }
    admitting = false;
    await once(connect(join(folder, 'api.sock')).resume(), 'close');
    assert.deepEqual([count, reasons], [2, []]);
    listener.close();
    assert.deepEqual(paths.map(existsSync), [false, false]);
  });

  it('leaves no socket behind when one of its paths cannot be bound', async () => {
    const good = join(folder, 'good.sock');
    const bad = join(folder, 'bad.sock');
    writeFileSync(bad, 'not a socket');
    const failed = listenForPeers(options([good, bad], () => undefined));
    await assert.rejects(failed, { code: 'ERR_SOCKET' });
    assert.equal(existsSync(good), false);
  });
});
