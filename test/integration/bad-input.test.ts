import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { createDaemon, entryForMe, type Daemon } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import {
  callHeaders,
  data,
  END_HEADERS,
  END_STREAM,
  FRAME,
  frame,
  grpcMessage,
  headerBlock,
  OPENING,
  openCall,
  openManyCalls,
} from '../support/http2-frames.ts';
import { PYTHON } from '../support/peer-process.ts';
import { connectRaw, type RawPeer } from '../support/raw-peer.ts';
import { connectProxy, EndedError, endingOfFetch, type Ending } from '../support/sds-proxy.ts';
import { encodeRequest, SECRET_TYPE } from '../support/secrets.ts';

const REQUEST = encodeRequest({ resource_names: ['default'], type_url: SECRET_TYPE });
/** A leak of what the attacks below cost would not fit into it. */
const HEAP_MB = 256;
const MAX_RSS_BYTES = 600e6;
/** Not a measure of speed: the machine may be busy with other tests. */
const ALIVE_MS = 2000;

/** A well-behaved proxy in a process of its own that asks for its first secret all the time. */
class Witness {
  readonly #child: ChildProcess;
  #lines: string[] = [];

  constructor(socketPath: string) {
    const script = fileURLToPath(new URL('../support/sds-witness.ts', import.meta.url));
    this.#child = spawn(process.execPath, ['--import', 'tsx', script, socketPath], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#lines.push(...text.trim().split('\n'));
    });
  }

  /** What it saw since the last look, once it has been served again. */
  async look(): Promise<string[]> {
    const { length } = this.#lines;
    await eventually(() => this.#lines.length > length + 1, { what: 'the witness is served' });
    return this.#lines.splice(0);
  }

  async stop(): Promise<void> {
    this.#child.stdin?.end();
    await once(this.#child, 'exit');
  }
}

describe('bad input on the public socket', { timeout: 240_000 }, () => {
  let daemon: Daemon;
  let witness: Witness;
  let idleFds = 0;

  before(async () => {
    process.env['NODE_OPTIONS'] = `--max-old-space-size=${HEAP_MB}`;
    daemon = await createDaemon({
      entries: [entryForMe('spiffe://example.org/web')],
      settings: { telemetry: { metrics_address: '', log_level: 'info', log_format: 'json' } },
    });
    await daemon.start();
    delete process.env['NODE_OPTIONS'];
    witness = new Witness(daemon.socketPath);
    await witness.look();
    idleFds = await daemon.metric('process_open_fds');
  });
  after(async () => {
    await witness.stop();
    await daemon[Symbol.asyncDispose]();
  });

  /** Runs an attack; the daemon must serve others meanwhile and keep to its memory. */
  function endures(what: string, attack: () => Promise<void>): void {
    it(`endures ${what}`, async () => {
      await untilWelcome();
      await witness.look();
      await attack();
      const seen = await witness.look();
      assert.equal(daemon.died(), undefined);
      for (const line of seen) assert.ok(Number(line) < ALIVE_MS, `the witness waited ${line}`);
      const rss = await daemon.metric('process_resident_memory_bytes');
      assert.ok(rss < MAX_RSS_BYTES, `${Math.round(rss / 1e6)} MB are resident`);
    });
  }

  const raw = () => connectRaw(daemon.socketPath);

  /** Who was closed for what it did is kept out for a while: all the attacks come from here. */
  async function untilWelcome(): Promise<void> {
    const welcome = async () => {
      using peer = await raw();
      await peer.write(OPENING);
      await eventually(() => peer.closed || peer.frames().length > 0, { what: 'an answer' });
      return !peer.closed;
    };
    await eventually(welcome, { what: 'the daemon lets us in again', timeoutMs: 15_000 });
  }

  /** A connection with an open call on stream 1. */
  async function called(more: readonly (readonly [string, string])[] = []): Promise<RawPeer> {
    const peer = await raw();
    await peer.write(Buffer.concat([OPENING, openCall(1, more)]));
    return peer;
  }

  /** What one call with these bytes as its only message ends with, or `served`. */
  async function outcome(message: Uint8Array): Promise<Ending | 'served'> {
    using proxy = connectProxy(daemon.socketPath);
    const stream = proxy.stream();
    stream.sendBytes(message);
    try {
      await stream.next();
      stream.cancel();
      return 'served';
    } catch (thrown) {
      if (thrown instanceof EndedError) return thrown.ending;
      throw thrown;
    }
  }

  describe('that is no HTTP/2', () => {
    endures('random bytes', () =>
      fc.assert(
        fc.asyncProperty(fc.uint8Array({ minLength: 24, maxLength: 2000 }), async (bytes) => {
          using peer = await raw();
          await peer.write(bytes);
          peer.end();
          await peer.untilClosed();
        }),
        { numRuns: 50 },
      ),
    );

    endures('HTTP/1 requests, which it closes', async () => {
      for (let n = 0; n < 20; n++) {
        using peer = await raw();
        await peer.write(Buffer.from('GET / HTTP/1.1\r\nHost: sds\r\n\r\n'));
        await peer.untilClosed();
      }
    });

    endures('connections that end half way', async () => {
      for (let n = 0; n <= OPENING.length; n += 3) {
        using peer = await raw();
        await peer.write(OPENING.subarray(0, n));
        peer.end();
        await peer.untilClosed();
      }
    });

    endures('1,000 connections that never speak', async () => {
      const peers = await Promise.all(Array.from({ length: 1000 }, raw));
      await witness.look();
      for (const peer of peers) peer.close();
    });
  });

  describe('in HTTP/2 frames', () => {
    const number = fc.integer({ min: 0, max: 9 });
    const randomFrame = fc.oneof(
      fc
        .record({
          type: fc.integer({ min: 0, max: 12 }),
          flags: fc.integer({ min: 0, max: 255 }),
          stream: number,
          payload: fc.uint8Array({ maxLength: 40 }),
          extra: fc.constantFrom(0, 0, 0, 1, 20_000),
        })
        .map(({ type, flags, stream, payload, extra }) =>
          frame(type, flags, stream, payload, payload.length + extra),
        ),
      number.map((stream) => openCall(stream)),
      number.map((stream) => data(stream, grpcMessage(REQUEST))),
      number.map((stream) => frame(FRAME.reset, 0, stream, Buffer.of(0, 0, 0, 8))),
      number.map((stream) => frame(FRAME.windowUpdate, 0, stream, Buffer.of(0x7f, 255, 255, 255))),
    );
    endures('any order of valid and broken ones', () =>
      fc.assert(
        fc.asyncProperty(fc.array(randomFrame, { maxLength: 30 }), async (frames) => {
          using peer = await raw();
          await peer.write(Buffer.concat([OPENING, ...frames]));
        }),
        { numRuns: 200 },
      ),
    );

    endures('frames cut short', async () => {
      const whole = Buffer.concat([OPENING, openCall(1), data(1, grpcMessage(REQUEST))]);
      for (let n = OPENING.length; n < whole.length; n += 2) {
        using peer = await raw();
        await peer.write(whole.subarray(0, n));
      }
    });

    endures('streams that are reset as soon as they are opened', async () => {
      for (let n = 0; n < 3; n++) {
        using peer = await raw();
        await peer.write(OPENING);
        for (let id = 1; id < 6000 && !peer.closed; id += 200) {
          const ids = Array.from({ length: 100 }, (_, k) => id + 2 * k);
          await peer.write(
            Buffer.concat(
              ids.flatMap((k) => [openCall(k), frame(FRAME.reset, 0, k, Buffer.of(0, 0, 0, 8))]),
            ),
          );
        }
        await peer.untilClosed();
      }
    });

    endures('pings and settings of a peer that does not read the answers', async () => {
      for (const one of [
        frame(FRAME.ping, 0, 0, Buffer.alloc(8)),
        frame(FRAME.settings, 0, 0, Buffer.of(0, 4, 0, 0, 0, 1)),
      ]) {
        using peer = await raw();
        await peer.write(OPENING);
        const many = Buffer.concat(Array.from({ length: 1000 }, () => one));
        for (let n = 0; n < 30 && !peer.closed; n++) await peer.write(many);
      }
    });

    endures('headers without an end, too many and too large ones', async () => {
      const long = headerBlock([['x-long', 'a'.repeat(15_000)]]);
      using endless = await raw();
      await endless.write(Buffer.concat([OPENING, openCall(1, [], 0)]));
      for (let n = 0; n < 500 && !endless.closed; n++) {
        await endless.write(frame(FRAME.continuation, 0, 1, long));
      }
      await endless.untilClosed();
      using many = await called(Array.from({ length: 300 }, (_, n) => [`x-${n}`, 'b'] as const));
      await many.write(data(1, grpcMessage(REQUEST)));
      await eventually(
        () => many.closed || many.frames().some(({ type }) => type === FRAME.reset),
        {
          what: 'the stream is refused',
        },
      );
    });

    endures('headers that are no metadata, and does not repeat them', async () => {
      const printed = daemon.log().length;
      for (let n = 0; n < 50; n++) {
        using peer = await called([
          ['x-text', '\xe9'.repeat(500)],
          ['x-bin', '%%%'],
          ['grpc-timeout', '5S'],
        ]);
        await peer.write(data(1, grpcMessage(REQUEST)));
        await eventually(() => peer.received().includes('BEGIN CERTIFICATE'), {
          what: 'an answer',
        });
      }
      assert.ok(daemon.log().length - printed < 2000);
    });

    endures('a message in tiny pieces, which it cuts off', async () => {
      using peer = await called();
      await peer.write(data(1, grpcMessage(Buffer.alloc(0), { length: 1_000_000 })));
      const pieces = Buffer.concat(Array.from({ length: 1000 }, () => data(1, Buffer.of(1))));
      for (let n = 0; n < 500 && !peer.closed; n++) await peer.write(pieces);
      await peer.untilClosed();
    });

    endures('messages that are never finished', async () => {
      using peer = await raw();
      await peer.write(OPENING);
      for (let id = 1; id < 200; id += 2) {
        const begin = data(id, grpcMessage(Buffer.alloc(0), { length: 1_000_000 }));
        await peer.write(Buffer.concat([openCall(id), begin]));
        for (let n = 0; n < 4; n++) await peer.write(data(id, Buffer.alloc(16_000)));
      }
    });

    endures('a flood of empty frames', async () => {
      using peer = await called();
      const many = Buffer.concat(Array.from({ length: 1000 }, () => data(1, Buffer.alloc(0))));
      for (let n = 0; n < 100 && !peer.closed; n++) await peer.write(many);
    });

    endures('streams that are kept half open after their end', async () => {
      using peer = await raw();
      await peer.write(OPENING);
      const refused = grpcMessage(encodeRequest({ resource_names: ['sds://x'] }));
      for (let id = 1; id < 4000; id += 2) {
        await peer.write(Buffer.concat([openCall(id), data(id, refused)]));
      }
      const resets = () => peer.frames().filter(({ type }) => type === FRAME.reset).length;
      await eventually(() => resets() > 1000, { what: 'the daemon ends them' });
    });

    endures('a thousand calls in one read, on a hundred connections at once', async () => {
      for (const method of ['Nothing', 'StreamSecrets']) {
        const burst = openManyCalls(1000, method, END_HEADERS | END_STREAM);
        const peers = await Promise.all(Array.from({ length: 100 }, raw));
        await Promise.all(peers.map((peer) => peer.write(Buffer.concat([OPENING, burst]))));
        await witness.look();
        for (const peer of peers) peer.close();
      }
    });

    endures('many calls of peers that leave at once, which cost nothing any more', async () => {
      const burst = openManyCalls(1000, 'Nothing', END_HEADERS | END_STREAM);
      const peers = await Promise.all(Array.from({ length: 200 }, raw));
      await Promise.all(peers.map((peer) => peer.write(Buffer.concat([OPENING, burst]))));
      for (const peer of peers) peer.close();
      await eventually(async () => (await daemon.metric('process_open_fds')) <= idleFds + 8, {
        what: 'the daemon is done with them',
        timeoutMs: 4000,
      });
    });

    endures('methods and content types that do not exist', async () => {
      using peer = await raw();
      await peer.write(OPENING);
      for (let id = 1; id < 2000; id += 2) {
        const headers = callHeaders('Nothing').map(([name, value]) =>
          id % 4 === 1 && name === 'content-type'
            ? ([name, 'text/html'] as const)
            : ([name, value] as const),
        );
        await peer.write(frame(FRAME.headers, END_HEADERS, id, headerBlock(headers)));
      }
    });
  });

  describe('in gRPC messages', () => {
    endures('a message of 20 MB', async () => {
      const ending = await outcome(Buffer.alloc(20_000_000));
      assert.ok(ending !== 'served');
      assert.equal(ending.code, 'RESOURCE_EXHAUSTED');
      assert.match(ending.details, /20000000.*1048576/);
    });

    endures('a message that claims 4 GB', async () => {
      using peer = await called();
      await peer.write(data(1, grpcMessage(Buffer.alloc(10), { length: 0xffff_ffff })));
      await eventually(() => hasStatus(peer), { what: 'a status' });
    });

    endures('10,000 names, and names of any length', async () => {
      const names = Array.from({ length: 10_000 }, (_, n) => `spiffe://example.org/${n}`);
      const many = await outcome(encodeRequest({ resource_names: names }));
      assert.deepEqual(many, {
        code: 'RESOURCE_EXHAUSTED',
        details: 'a request has more than 2000 resource names, at most 2000 are allowed',
      });
      const long = await outcome(encodeRequest({ resource_names: ['a'.repeat(3000)] }));
      assert.ok(long !== 'served' && long.code === 'RESOURCE_EXHAUSTED');
      const full = names.slice(0, 400).map((name) => name + 'a'.repeat(2000));
      for (let n = 0; n < 20; n++) {
        const denied = await outcome(encodeRequest({ resource_names: full }));
        assert.ok(denied !== 'served' && denied.code === 'PERMISSION_DENIED');
        assert.ok(denied.details.length <= 512);
        // Asked for again the names are parked: another list each time.
        full.push(`spiffe://example.org/again${n}`);
      }
    });

    endures('any request', () => {
      const text = fc.oneof(
        fc.constantFrom(
          '',
          'default',
          'ROOTCA',
          'ALL',
          '*',
          'spiffe://example.org/web',
          SECRET_TYPE,
        ),
        fc.string({ unit: 'binary', maxLength: 30 }),
      );
      const request = fc.record(
        {
          version_info: text,
          resource_names: fc.array(text, { maxLength: 5 }),
          type_url: text,
          response_nonce: text,
          error_detail: fc.record({ code: fc.nat(), message: text }),
          node: fc.record({ id: text, cluster: text, user_agent_name: text }),
        },
        { requiredKeys: [] },
      );
      return fc.assert(
        fc.asyncProperty(request, async (fields) => {
          const ending = await outcome(encodeRequest(fields));
          const codes = ['INVALID_ARGUMENT', 'PERMISSION_DENIED'];
          assert.ok(ending === 'served' || codes.includes(ending.code), JSON.stringify(ending));
        }),
        { numRuns: 100 },
      );
    });

    endures('any bytes in the place of a request', () =>
      fc.assert(
        fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
          const ending = await outcome(bytes);
          const codes = ['INVALID_ARGUMENT', 'PERMISSION_DENIED', 'RESOURCE_EXHAUSTED'];
          assert.ok(ending === 'served' || codes.includes(ending.code), JSON.stringify(ending));
        }),
        { numRuns: 100 },
      ),
    );

    it('takes an empty message for a request for everything', async () => {
      assert.equal(await outcome(Buffer.alloc(0)), 'served');
    });

    endures('thousands of empty messages', async () => {
      using peer = await called();
      const many = Buffer.concat(Array.from({ length: 2000 }, () => grpcMessage(Buffer.alloc(0))));
      for (let n = 0; n < 50 && !peer.closed; n++) await peer.write(data(1, many));
      await eventually(() => hasStatus(peer), { what: 'the stream ends' });
    });

    endures('names that change all the time for a peer that does not read', async () => {
      using peer = await raw();
      const noWindow = frame(FRAME.settings, 0, 0, Buffer.of(0, 4, 0, 0, 0, 0));
      await peer.write(Buffer.concat([OPENING, noWindow, openCall(1)]));
      const toggles = ['default', 'ROOTCA'].map((name) =>
        data(1, grpcMessage(encodeRequest({ resource_names: [name] }))),
      );
      const many = Buffer.concat(Array.from({ length: 200 }, () => toggles).flat());
      for (let n = 0; n < 100 && !peer.closed; n++) await peer.write(many);
    });

    it('reads compressed requests, of which some proxies are fond', async () => {
      using peer = await called([['grpc-encoding', 'gzip']]);
      await peer.write(data(1, grpcMessage(gzipSync(REQUEST), { compressed: 1 })));
      await eventually(() => peer.received().includes('BEGIN CERTIFICATE'), { what: 'an answer' });
    });

    endures('what claims to be compressed, and is not or is a bomb', async () => {
      const bomb = gzipSync(Buffer.alloc(200_000_000));
      for (const [encoding, body] of [
        ['gzip', Buffer.from('no gzip')],
        ['deflate', Buffer.alloc(0)],
        ['gzip', gzipSync(REQUEST).subarray(0, 15)],
        ['snappy', REQUEST],
        ['gzip', bomb],
      ] as const) {
        using peer = await called([['grpc-encoding', encoding]]);
        const message = grpcMessage(body, { compressed: 1 });
        for (let at = 0; at < message.length; at += 16_000) {
          await peer.write(data(1, message.subarray(at, at + 16_000)));
        }
        await eventually(() => hasStatus(peer), { what: encoding });
        assert.ok(!peer.received().includes('BEGIN CERTIFICATE'));
      }
    });

    it('ends unary calls in the same way', async () => {
      using proxy = connectProxy(daemon.socketPath);
      const names = Array.from({ length: 3000 }, () => 'default');
      const ending = await endingOfFetch(proxy.fetch({ resource_names: names }));
      assert.equal(ending.code, 'RESOURCE_EXHAUSTED');
    });
  });

  describe('from whole processes', () => {
    it('serves 1,000 streams on one connection', async () => {
      using proxy = connectProxy(daemon.socketPath);
      const streams = Array.from({ length: 1000 }, () => proxy.stream());
      for (const stream of streams) stream.ask('default');
      for (const stream of streams) await stream.next();
    });

    endures('processes that ask and end before they are answered', async () => {
      const program = `
import os, socket, sys
for n in range(300):
    if os.fork() == 0:
        s = socket.socket(socket.AF_UNIX)
        s.connect(sys.argv[1])
        s.sendall(bytes.fromhex(sys.argv[2]))
        os._exit(0)
for n in range(300): os.wait()
`;
      const bytes = Buffer.concat([OPENING, openCall(1), data(1, grpcMessage(REQUEST))]);
      const args = ['-c', program, daemon.socketPath, bytes.toString('hex')];
      const child = spawn(PYTHON, args, { stdio: 'inherit' });
      const [code] = (await once(child, 'exit')) as [number];
      assert.equal(code, 0);
    });

    endures('one that is refused again and again, in few lines', async () => {
      const refusals = () => daemon.log().split('secret refused').length;
      const started = performance.now();
      const written = refusals();
      using proxy = connectProxy(daemon.socketPath);
      for (let n = 0; n < 500; n++) {
        const stream = proxy.stream();
        stream.ask('sds://x');
        assert.equal((await stream.ending()).code, 'PERMISSION_DENIED');
      }
      const allowed = 10 + (performance.now() - started) / 1000;
      assert.ok(refusals() - written <= allowed, `${refusals() - written} lines`);
    });
  });

  it('refuses more requests than a process may send, then closes the connection', async () => {
    await using strict = await createDaemon({
      entries: [entryForMe('spiffe://example.org/web')],
      settings: { limits: { requests_per_second: 20 } },
    });
    await strict.start();
    using proxy = connectProxy(strict.socketPath);
    const streams = Array.from({ length: 50 }, () => proxy.stream());
    for (const stream of streams) stream.ask('default');
    const endings = await Promise.allSettled(streams.map((stream) => stream.next()));
    assert.equal(endings[0]?.status, 'fulfilled');
    const last = endings.at(-1);
    assert.ok(last?.status === 'rejected' && last.reason instanceof EndedError);
    assert.equal(last.reason.ending.code, 'RESOURCE_EXHAUSTED');
    assert.match(last.reason.ending.details, /more than 20 requests per second/);
    using peer = await connectRaw(strict.socketPath);
    await peer.write(OPENING);
    for (let id = 1; id < 20_000 && !peer.closed; id += 400) {
      const ids = Array.from({ length: 200 }, (_, k) => id + 2 * k);
      await peer.write(Buffer.concat(ids.map((k) => openCall(k, [], END_HEADERS | END_STREAM))));
    }
    await peer.untilClosed();
    // What it asked for before is not taken from it.
    assert.equal(await strict.metric('credence_sds_streams', /sotw/), 40);
  });

  it('has all descriptors back when the attackers have gone', async () => {
    await eventually(async () => (await daemon.metric('process_open_fds')) <= idleFds + 8, {
      what: 'descriptors come back',
    });
    // The witness has one, and one that is ending.
    await eventually(async () => (await daemon.metric('credence_sds_streams')) <= 2, {
      what: 'streams end',
    });
  });
});

/** Whether the call on stream 1 has its status: headers that end the stream. */
function hasStatus(peer: RawPeer): boolean {
  return peer
    .frames()
    .some(({ type, flags }) => type === FRAME.headers && (flags & END_STREAM) !== 0);
}
