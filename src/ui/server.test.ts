import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request, type IncomingHttpHeaders } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { systemClock } from '../core/clock.ts';
import { pageOf } from './page-file.ts';
import type { Picture } from './pictures.ts';
import { createUiServer } from './server.ts';

const TOKEN = 'a-token';
const PAGE = pageOf('<style>p{}</style><script type="module">let a</script>');

interface Answer {
  readonly code: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** The server on a port, and a way to ask it. */
async function serve(t: TestContext, picture: () => Promise<Picture>) {
  const door = { token: TOKEN, port: 0 };
  const full: number[] = [];
  const limit = { clock: systemClock, onFull: (count: number) => void full.push(count) };
  const server = createUiServer({ page: PAGE, picture }, () => door, limit);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  door.port = port;
  const ask = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    new Promise<Answer>((resolve, reject) => {
      const sent = request({ port, path, method, headers, agent: false }, (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (part: string) => (body += part));
        response.on('end', () =>
          resolve({ code: response.statusCode, headers: response.headers, body }),
        );
      });
      sent.on('error', reject);
      sent.setHeader('host', headers['host'] ?? `127.0.0.1:${port}`);
      sent.end();
    });
  return { ask, port, full };
}

const picture = (): Promise<Picture> =>
  Promise.resolve({ body: Buffer.from('{"a":1}'), etag: '"one"', nowMs: () => 1234.6 });

describe('createUiServer()', () => {
  it('serves the page with a policy that allows what is in it and nothing else', async (t) => {
    const { ask } = await serve(t, picture);
    const { code, headers, body } = await ask(`/${TOKEN}/`);
    assert.equal(code, 200);
    assert.equal(body, PAGE.html.toString());
    assert.equal(headers['content-type'], 'text/html; charset=utf-8');
    // Digests of "let a" and "p{}", as openssl has them.
    assert.equal(
      headers['content-security-policy'],
      "default-src 'none'; script-src 'sha256-IfEXP/8HLuXoAiy0hZVrCAcjcLsZqYFpLOHDGj8enqE='; style-src 'sha256-gG2yISYereRMiG2lMXrbiUgi0Ubw9p7QCeWcroOvy9Y='; " +
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; " +
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    );
  });

  it('gives every answer the headers that keep the address and the content to itself', async (t) => {
    const { ask } = await serve(t, picture);
    const answers = [
      await ask(`/${TOKEN}/`),
      await ask(`/${TOKEN}/status`),
      await ask(`/${TOKEN}/status`, { 'if-none-match': '"one"' }),
      await ask('/nobody/'),
      await ask(`/${TOKEN}/`, { host: 'attacker.example' }),
      await ask(`/${TOKEN}/`, {}, 'POST'),
    ];
    assert.deepEqual(
      answers.map(({ code }) => code),
      [200, 200, 304, 404, 403, 405],
    );
    for (const { headers } of answers) {
      assert.equal(headers['cache-control'], 'no-store');
      assert.equal(headers['x-content-type-options'], 'nosniff');
      assert.equal(headers['referrer-policy'], 'no-referrer');
      assert.equal(headers['cross-origin-opener-policy'], 'same-origin');
      assert.equal(headers['cross-origin-resource-policy'], 'same-origin');
      assert.match(
        String(headers['content-security-policy']),
        /^default-src 'none'.*frame-ancestors 'none'/,
      );
      assert.equal(headers['access-control-allow-origin'], undefined);
    }
  });

  it('tells strangers nothing and does not ask the daemon for them', async (t) => {
    let asked = 0;
    const { ask } = await serve(t, () => (asked++, picture()));
    for (const answer of [
      await ask('/nobody/status'),
      await ask(`/${TOKEN}/status`, { host: 'attacker.example' }),
      await ask(`/${TOKEN}/status`, { 'sec-fetch-site': 'cross-site' }),
      await ask(`/${TOKEN}/status`, {}, 'DELETE'),
    ]) {
      assert.equal(answer.body, '');
    }
    assert.equal(asked, 0);
  });

  it('sends a status once, and the time always', async (t) => {
    const { ask } = await serve(t, picture);
    const first = await ask(`/${TOKEN}/status`);
    assert.deepEqual([first.body, first.headers.etag], ['{"a":1}', '"one"']);
    assert.equal(first.headers['credence-now'], '1235');
    const again = await ask(`/${TOKEN}/status`, { 'if-none-match': '"one"' });
    assert.deepEqual([again.code, again.body], [304, '']);
    assert.equal(again.headers['credence-now'], '1235');
    const other = await ask(`/${TOKEN}/status`, { 'if-none-match': '"zero"' });
    assert.equal(other.body, '{"a":1}');
  });

  it('answers HEAD without a body', async (t) => {
    const { ask } = await serve(t, picture);
    const { code, headers, body } = await ask(`/${TOKEN}/`, {}, 'HEAD');
    assert.deepEqual([code, body], [200, '']);
    assert.equal(headers['content-length'], String(PAGE.html.length));
  });

  it('answers its user whoever else holds connections open, and says so', async (t) => {
    const { ask, port, full } = await serve(t, picture);
    const idle = Array.from({ length: 80 }, () => connect(port, '127.0.0.1').resume());
    t.after(() => idle.forEach((socket) => socket.destroy()));
    await Promise.all(idle.map((socket) => once(socket, 'connect')));
    for (const socket of idle) socket.on('error', () => undefined).write('GET / HTTP/1.1\r\n');
    assert.equal((await ask(`/${TOKEN}/`)).code, 200);
    assert.deepEqual(full, [1]);
  });

  it('closes on what is no HTTP, and on headers without end', async (t) => {
    const { ask, port } = await serve(t, picture);
    for (const bytes of [
      '\x16\x03\x01 not HTTP\r\n\r\n',
      `GET / HTTP/1.1\r\nx: ${'y'.repeat(9000)}`,
    ]) {
      assert.equal(await answerTo(port, bytes), '');
    }
    assert.equal((await ask(`/${TOKEN}/`)).code, 200);
  });

  it('closes on attempts to make it a proxy or a socket of another protocol', async (t) => {
    const { port } = await serve(t, picture);
    for (const bytes of [
      'CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n',
      `GET /${TOKEN}/ HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n`,
    ]) {
      assert.equal(await answerTo(port, bytes), '');
    }
  });
});

/** What comes back until the server closes. */
async function answerTo(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  let got = '';
  socket.setEncoding('utf8').on('data', (part: string) => (got += part));
  socket.write(bytes);
  await once(socket, 'close');
  return got;
}
