import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { createDaemon, entryForMe } from '../support/daemon.ts';
import {
  data,
  END_HEADERS,
  END_STREAM,
  grpcMessage,
  OPENING,
  openCall,
} from '../support/http2-frames.ts';
import { PYTHON } from '../support/peer-process.ts';
import { connectRaw } from '../support/raw-peer.ts';
import { connectProxy, EndedError } from '../support/sds-proxy.ts';
import { REQUEST, siege } from '../support/siege.ts';

describe('bad input on the public socket', { timeout: 240_000 }, () => {
  const attacked = siege();
  const { endures } = attacked;

  describe('from whole processes', () => {
    it('serves 1,000 streams on one connection', async () => {
      using proxy = connectProxy(attacked.daemon.socketPath);
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
      const args = ['-c', program, attacked.daemon.socketPath, bytes.toString('hex')];
      const child = spawn(PYTHON, args, { stdio: 'inherit' });
      const [code] = (await once(child, 'exit')) as [number];
      assert.equal(code, 0);
    });

    endures('one that is refused again and again, in few lines', async () => {
      const refusals = () => attacked.daemon.log().split('secret refused').length;
      const started = performance.now();
      const written = refusals();
      using proxy = connectProxy(attacked.daemon.socketPath);
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
    const streams = Array.from({ length: 200 }, () => proxy.stream());
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
    // What it asked for before is not taken from it: twice a second's worth, and what came due.
    const served = endings.filter((ending) => ending.status === 'fulfilled').length;
    assert.ok(served >= 40, `${served} were served`);
    assert.equal(await strict.metric('credence_sds_streams', /sotw/), served);
  });

  attacked.endsAsItBegan();
});
