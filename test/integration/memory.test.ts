import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createDaemon, entryForMe, type Daemon } from '../support/daemon.ts';
import { connectDeltaProxy, encodeDeltaRequest } from '../support/delta-proxy.ts';
import { eventually } from '../support/eventually.ts';
import { OPENING } from '../support/http2-frames.ts';
import { connectRaw } from '../support/raw-peer.ts';
import { connectProxy } from '../support/sds-proxy.ts';
import { encodeRequest, SECRET_TYPE } from '../support/secrets.ts';

const WEB = 'spiffe://example.org/web';
/** What is compiled and kept ready at the first attacks, 4 to 12 MB, and some room. */
const MORE_BYTES = 20e6;
/** What a start leaves is collected, and work is looked for from then on. */
const START_MS = 12_000;
/** V8 takes its time, twice; longer where the machine is busy with something else. */
const REST_MS = 90_000;

describe('memory', { timeout: 300_000 }, () => {
  let daemon: Daemon;
  let idle = 0;
  before(async () => {
    const many = 100_000;
    daemon = await createDaemon({
      entries: [entryForMe(WEB)],
      settings: {
        limits: {
          connects_per_second_per_uid: many,
          connects_per_second_per_pid: many,
          requests_per_second: many,
        },
        telemetry: { metrics_address: '', log_level: 'info', log_format: 'json' },
      },
    });
    await daemon.start();
    const started = performance.now();
    await eventually(() => performance.now() - started > START_MS, { what: 'the start is over' });
    idle = daemon.resident();
  });
  after(() => daemon[Symbol.asyncDispose]());

  const silence = async () => {
    const { socketPath } = daemon;
    const peers = await Promise.all(Array.from({ length: 1000 }, () => connectRaw(socketPath)));
    await eventually(async () => (await daemon.metric('process_open_fds')) > peers.length, {
      what: 'all are connected',
    });
    for (const peer of peers) peer.close();
  };

  const streams = async () => {
    using proxy = connectProxy(daemon.socketPath);
    using delta = connectDeltaProxy(daemon.socketPath);
    const all = Array.from({ length: 500 }, () => [proxy.stream(), delta.stream()] as const);
    for (const [one, other] of all) {
      one.ask('default');
      other.send({ subscribe: ['default'] });
    }
    for (const [one, other] of all) await Promise.all([one.next(), other.next()]);
  };

  const requests = async () => {
    const names = Array.from({ length: 10_000 }, (_, n) => `${WEB}/${n}`);
    for (const bytes of [
      Buffer.alloc(20_000_000),
      encodeRequest({ resource_names: names, type_url: SECRET_TYPE }),
      encodeRequest({ resource_names: names.slice(0, 1900), type_url: SECRET_TYPE }),
      encodeRequest({ resource_names: ['default'], type_url: 'type.googleapis.com/other' }),
    ]) {
      using proxy = connectProxy(daemon.socketPath);
      const stream = proxy.stream();
      stream.sendBytes(bytes);
      await stream.ending();
    }
    for (const bytes of [
      encodeDeltaRequest({ subscribe: [`${WEB}/${'a'.repeat(65_536)}`] }),
      Buffer.of(26, 3, 0x61, 0xff, 0xfe),
    ]) {
      using proxy = connectDeltaProxy(daemon.socketPath);
      const stream = proxy.stream();
      stream.sendBytes(bytes);
      await stream.ending();
    }
  };

  const noise = async () => {
    for (const bytes of [
      Buffer.alloc(5000, 0xa5),
      Buffer.from('GET / HTTP/1.1\r\nHost: sds\r\n\r\n'),
      OPENING.subarray(0, 20),
    ]) {
      for (let n = 0; n < 200; n++) {
        using peer = await connectRaw(daemon.socketPath);
        await peer.write(bytes);
        peer.end();
        await peer.untilClosed();
      }
    }
  };

  // The second time as well: what a round leaves for ever would add up.
  for (const time of ['once', 'again']) {
    it(`comes back when all attackers have left, ${time}`, async () => {
      for (const attack of [silence, streams, requests]) {
        for (let n = 0; n < 3; n++) await attack();
      }
      await noise();
      const bound = idle + MORE_BYTES;
      const attacked = daemon.resident();
      assert.ok(attacked > bound, `the attacks cost ${attacked - idle} bytes, too few to tell`);
      await eventually(() => daemon.resident() < bound, {
        what: `at most ${bound} bytes are resident after ${attacked}`,
        timeoutMs: REST_MS,
        hopeless: () => daemon.died(),
      });
      assert.doesNotMatch(daemon.log(), /Warning/);
    });
  }
});
