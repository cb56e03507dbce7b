import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { Terminal } from './command.ts';
import { health } from './health.ts';

/** A daemon that is not ready until it has been asked a number of times; its socket, and the count. */
async function readyAfter(t: TestContext, questions: number) {
  const folder = mkdtempSync(join(tmpdir().length <= 60 ? tmpdir() : '/tmp', 'credence-health-'));
  const socket = join(folder, 'admin.sock');
  let asked = 0;
  const server = createServer((_, response) => {
    const ready = ++asked > questions;
    response.writeHead(ready ? 200 : 503).end(ready ? 'ready\n' : 'starting\n');
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  t.after(() => {
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return { socket, asked: () => asked };
}

/** Asks with a clock that goes on by itself; what was printed, the exit code, the time it took. */
async function ask(socket: string, wait: string, stop = new AbortController()) {
  const clock = new FakeClock();
  const begunMs = clock.monotonic();
  let out = '';
  const terminal: Terminal = {
    out: (text) => void (out += text),
    err: () => undefined,
    isTTY: false,
    screen: undefined,
    env: {},
    exists: () => false,
    clock,
    signal: stop.signal,
  };
  let over = false;
  const tick = () => {
    if (over) return;
    void clock.advance(10);
    setTimeout(tick, 1);
  };
  tick();
  try {
    const code = await health({ 'admin-socket': socket, wait }, [], terminal);
    return { code, out, tookMs: clock.monotonic() - begunMs };
  } finally {
    over = true;
  }
}

describe('credence health --wait', () => {
  it('asks until the answer is yes', async (t) => {
    const daemon = await readyAfter(t, 3);
    const { code, out } = await ask(daemon.socket, '30s');
    assert.deepEqual([code, out, daemon.asked()], [0, 'ready\n', 4]);
  });

  it('gives the last no when the time is over', async (t) => {
    const daemon = await readyAfter(t, Infinity);
    const { code, out, tookMs } = await ask(daemon.socket, '1s');
    assert.deepEqual([code, out], [1, 'starting\n']);
    assert.ok(tookMs >= 1000, `${tookMs} ms`);
    assert.ok(daemon.asked() > 1);
  });

  it('waits for a socket that is not there yet', async () => {
    const { code, out, tookMs } = await ask('/nowhere/admin.sock', '300ms');
    assert.equal(code, 1);
    assert.match(
      out,
      /^cannot reach credence at \/nowhere\/admin\.sock: there is no such socket\n$/,
    );
    assert.ok(tookMs >= 300);
  });

  it('ends when the user does not want to wait', async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 20);
    await assert.rejects(ask('/nowhere/admin.sock', '1d', stop), { code: 'ERR_SHUTDOWN' });
  });

  it('takes durations alone', async () => {
    await assert.rejects(ask('/nowhere/admin.sock', '30'), { code: 'ERR_USAGE' });
  });
});
