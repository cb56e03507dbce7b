import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { httpGet } from './http-get.ts';

/** A server that says this to whoever connects, and then nothing. */
async function saying(text: string, end = false) {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    if (end) socket.end(text);
    else socket.write(text);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { port, close: () => server.close() };
}

async function ask(text: string, end?: boolean) {
  const { port, close } = await saying(text, end);
  const bounds = { timeoutMs: 5000, maxBytes: 1000, signal: new AbortController().signal };
  const clock = new FakeClock();
  const answer = httpGet({ host: '127.0.0.1', port }, '/', { clock, ...bounds });
  answer.catch(() => undefined).finally(close);
  return { answer, clock };
}

describe('httpGet()', () => {
  it('takes an answer', async () => {
    const { answer } = await ask('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi');
    assert.deepEqual(await answer, { code: 200, body: 'hi' });
  });

  it('settles whatever the other end does', async () => {
    const upgrade = 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n';
    await assert.rejects((await ask(upgrade)).answer, /answers 101/);
    await assert.rejects((await ask('', true)).answer, /hang up|without an answer/);
    await assert.rejects((await ask('nonsense\r\n\r\n')).answer, /Parse Error/);
    await assert.rejects(
      (await ask('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi', true)).answer,
    );
  });

  it('does not wait longer than it is told', async () => {
    const { answer, clock } = await ask('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n');
    await clock.advance(5000);
    await assert.rejects(answer, /no answer within 5 s/);
  });
});
