import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { after, before, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createDaemon, entryForMe, type Daemon } from './daemon.ts';
import { eventually } from './eventually.ts';
import { END_STREAM, FRAME, OPENING, openCall } from './http2-frames.ts';
import { connectRaw, type RawPeer } from './raw-peer.ts';
import { connectProxy, EndedError, type Ending } from './sds-proxy.ts';
import { encodeRequest, SECRET_TYPE } from './secrets.ts';

/** A request that is served. */
export const REQUEST = encodeRequest({ resource_names: ['default'], type_url: SECRET_TYPE });
/** A leak of what the attacks cost would not fit into it. */
const HEAP_MB = 256;
const MAX_RSS_BYTES = 600e6;
/** Not a measure of speed: the machine may be busy with other tests. */
const ALIVE_MS = 2000;

/** A well-behaved proxy in a process of its own that asks for its first secret all the time. */
class Witness {
  readonly #child: ChildProcess;
  #lines: string[] = [];

  constructor(socketPath: string) {
    const script = fileURLToPath(new URL('sds-witness.ts', import.meta.url));
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

/** A daemon that is attacked while somebody else is served. */
export interface Siege {
  readonly daemon: Daemon;
  readonly witness: { look(): Promise<string[]> };
  /** Tests an attack: the daemon must serve others meanwhile and keep to its memory. */
  readonly endures: (what: string, attack: () => Promise<void>) => void;
  /** Tests, as the last one, that nothing is left of the attackers. */
  endsAsItBegan(): void;
  /** Resolves once the daemon has no more descriptors open than before the attacks. */
  readonly untilIdle: (what: string, timeoutMs?: number) => Promise<void>;
  readonly raw: () => Promise<RawPeer>;
  /** A connection with an open call on stream 1. */
  readonly called: (more?: readonly (readonly [string, string])[]) => Promise<RawPeer>;
  /** What one call with these bytes as its only message ends with, or `served`. */
  readonly outcome: (message: Uint8Array) => Promise<Ending | 'served'>;
}

/** To be called at the top of a `describe`, which has one daemon for all its attacks. */
export function siege(): Siege {
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

  async function untilIdle(what: string, timeoutMs?: number): Promise<void> {
    await eventually(async () => (await daemon.metric('process_open_fds')) <= idleFds + 8, {
      what,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
  }

  return {
    get daemon() {
      return daemon;
    },
    get witness() {
      return witness;
    },
    endures(what, attack) {
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
    },
    endsAsItBegan() {
      it('has all descriptors back when the attackers have gone', async () => {
        await untilIdle('descriptors come back');
        // The witness has one, and one that is ending.
        await eventually(async () => (await daemon.metric('credence_sds_streams')) <= 2, {
          what: 'streams end',
        });
      });
    },
    untilIdle,
    raw,
    async called(more = []) {
      const peer = await raw();
      await peer.write(Buffer.concat([OPENING, openCall(1, more)]));
      return peer;
    },
    async outcome(message) {
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
    },
  };
}

/** Whether the call on stream 1 has its status: headers that end the stream. */
export function hasStatus(peer: RawPeer): boolean {
  return peer
    .frames()
    .some(({ type, flags }) => type === FRAME.headers && (flags & END_STREAM) !== 0);
}
