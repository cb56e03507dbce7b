import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import {
  createServer as createNetServer,
  type AddressInfo,
  type Server,
  type Socket,
} from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { systemClock } from '../core/clock.ts';
import {
  fetchCerts,
  parseCerts,
  parseEmptyRoots,
  parseEnvoyAdmin,
  plainSerial,
} from './envoy-admin.ts';

const terminal = { clock: systemClock, signal: new AbortController().signal };

async function listen(t: TestContext, server: Server, path?: string): Promise<string> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => sockets.add(socket));
  if (path === undefined) server.listen(0, '127.0.0.1');
  else server.listen(path);
  await once(server, 'listening');
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return path ?? `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const http = (t: TestContext, answer: RequestListener, path?: string) =>
  listen(t, createServer(answer), path);

describe('parseEnvoyAdmin()', () => {
  for (const [text, target] of [
    ['127.0.0.1:9901', { host: '127.0.0.1', port: 9901 }],
    ['9901', { host: '127.0.0.1', port: 9901 }],
    ['localhost:1', { host: 'localhost', port: 1 }],
    ['http://envoy.internal:65535/', { host: 'envoy.internal', port: 65_535 }],
    ['[::1]:9901', { host: '::1', port: 9901 }],
    ['/run/envoy.sock', { socketPath: '/run/envoy.sock' }],
    ['unix:/run/envoy.sock', { socketPath: '/run/envoy.sock' }],
    ['unix:///run/envoy.sock', { socketPath: '/run/envoy.sock' }],
  ] as const) {
    it(`takes ${text}`, () => assert.deepEqual(parseEnvoyAdmin(text).target, target));
  }

  for (const text of [
    ...[
      '0',
      '65536',
      '990100',
      '-1',
      'localhost',
      'localhost:',
      'localhost:0',
      'localhost:65536',
      ':9901',
      'a b:1',
    ],
    ...['https://localhost:9901', 'http://localhost:9901/certs', 'http://u:p@localhost:9901'],
    ...['ftp://localhost:9901', 'unix:run/envoy.sock', 'localhost:9901\n', '127.0.0.1:9901#'],
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.throws(() => parseEnvoyAdmin(text), { code: 'ERR_USAGE', message: /^--envoy-admin / });
    });
  }
});

describe('parseCerts()', () => {
  it('takes leaves with a SPIFFE ID, and their end from the date alone', () => {
    const leaf = {
      serial_number: '00AB',
      subject_alt_names: [{ dns: 'a.example' }, { uri: 'spiffe://td/a' }],
      days_until_expiration: '18446744073709551613',
      expiration_time: '2026-01-02T03:04:05Z',
    };
    const foreign = { ...leaf, subject_alt_names: [{ uri: 'https://td/a' }] };
    const certificates = [{ ca_cert: [{}, {}], cert_chain: [leaf, foreign] }, { cert_chain: [] }];
    const notAfterMs = Date.parse('2026-01-02T03:04:05Z');
    assert.deepEqual(parseCerts({ certificates }), [
      { leaves: [{ spiffeId: 'spiffe://td/a', serial: 'ab', notAfterMs }], bare: false, roots: 2 },
      { leaves: [], bare: true, roots: 0 },
    ]);
    assert.deepEqual(parseCerts({}), []);
  });

  it('takes any list of anything, and nothing else', () => {
    const name = fc.oneof(fc.jsonValue(), fc.constant({ uri: 'spiffe://td/a' }));
    const certificate = fc.record({
      subject_alt_names: fc.oneof(fc.array(name), fc.jsonValue()),
      serial_number: fc.jsonValue(),
      expiration_time: fc.jsonValue(),
    });
    const context = fc.record({
      cert_chain: fc.oneof(fc.array(certificate), fc.jsonValue()),
      ca_cert: fc.jsonValue(),
    });
    fc.assert(
      fc.property(fc.array(fc.oneof(context, fc.jsonValue())), (certificates) => {
        for (const { leaves, roots } of parseCerts({ certificates })) {
          assert.ok(roots >= 0);
          for (const { spiffeId } of leaves) assert.match(spiffeId, /^spiffe:/);
        }
      }),
    );
    for (const document of [null, 1, 'a', [], { certificates: {} }, { certificates: null }]) {
      assert.throws(() => parseCerts(document), TypeError);
    }
  });
});

describe('parseEmptyRoots()', () => {
  it('names what stands in the place of roots and holds nothing', () => {
    const secret = (name: string, value: object) => ({ name, secret: { name, ...value } });
    const configs = [
      secret('a', { tls_certificate: {} }),
      secret('b', { validation_context: {} }),
      secret('c', { validation_context: { trusted_ca: {} } }),
      { name: 'd' },
      { secret: { validation_context: {} } },
      null,
    ];
    assert.deepEqual(parseEmptyRoots({ configs }), ['b']);
    assert.deepEqual(parseEmptyRoots({}), []);
    assert.throws(() => parseEmptyRoots([]));
  });
});

describe('plainSerial()', () => {
  it('knows one spelling of a number', () => {
    assert.deepEqual(['00', '0A:bC', 'abc', ''].map(plainSerial), ['0', 'abc', 'abc', '']);
  });
});

describe('fetchCerts()', () => {
  it('asks for /certs and nothing else, on a port and on a socket', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'credence-envoy-admin-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const asked: string[] = [];
    const answer: RequestListener = ({ method, url }, response) => {
      asked.push(`${method} ${url}`);
      response.end('{"certificates": [{"ca_cert": [{}]}]}');
    };
    for (const path of [undefined, join(folder, 'admin.sock')]) {
      const address = await http(t, answer, path);
      assert.deepEqual(await fetchCerts(parseEnvoyAdmin(address), terminal), [
        { leaves: [], bare: true, roots: 1 },
      ]);
    }
    assert.deepEqual(asked, ['GET /certs', 'GET /certs']);
  });

  for (const [what, code, body, message] of [
    ['403', 403, 'Forbidden', /answers 403 to \/certs: it is a restricted admin endpoint$/],
    ['404', 404, '', /answers 404 to \/certs: it is a restricted admin endpoint$/],
    ['500', 500, '{}', /answers 500 to \/certs$/],
    ['a redirect', 302, '', /answers 302 to \/certs$/],
    ['no JSON', 200, '<html>', /is not Envoy's admin interface: its \/certs is something else$/],
    ['other JSON', 200, '[]', /is not Envoy's admin interface/],
  ] as const) {
    it(`says so when the answer is ${what}`, async (t) => {
      const address = await http(t, (_, response) => {
        response.writeHead(code, { location: 'http://127.0.0.1:1/' }).end(body);
      });
      const fetched = fetchCerts(parseEnvoyAdmin(address), terminal);
      await assert.rejects(fetched, { code: 'ERR_UNREACHABLE', message });
    });
  }

  for (const [what, greet, message] of [
    [
      'closes at once',
      (socket: Socket) => socket.destroy(),
      /cannot reach Envoy's admin interface/,
    ],
    ['speaks no HTTP', (socket: Socket) => socket.end('SSH-2.0-x\r\n'), /does not speak HTTP$/],
    [
      'breaks off',
      (socket: Socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{'),
      /cannot reach/,
    ],
  ] as const) {
    it(`says so when what listens there ${what}`, async (t) => {
      const server = createNetServer((socket) => {
        socket.on('error', () => undefined);
        socket.once('data', () => greet(socket));
      });
      const fetched = fetchCerts(parseEnvoyAdmin(await listen(t, server)), terminal);
      await assert.rejects(fetched, { code: 'ERR_UNREACHABLE', message });
    });
  }

  it('says that nobody listens', async () => {
    await assert.rejects(fetchCerts(parseEnvoyAdmin('127.0.0.1:1'), terminal), {
      code: 'ERR_UNREACHABLE',
      message: "cannot reach Envoy's admin interface at 127.0.0.1:1: nobody listens on it",
    });
  });

  it('waits 5 s for the whole answer and no longer', async (t) => {
    const clock = new FakeClock(0);
    const address = await http(t, (_, response) => {
      response.write('{"certificates": [');
      setImmediate(() => void clock.advance(5000));
    });
    await assert.rejects(fetchCerts(parseEnvoyAdmin(address), { ...terminal, clock }), {
      code: 'ERR_UNREACHABLE',
      message: /no answer within 5 s$/,
    });
  });

  it('reads no more than 32 MiB', async (t) => {
    const part = Buffer.alloc(1024 * 1024, ' ');
    const address = await http(t, (_, response) => {
      response.on('error', () => undefined);
      for (let n = 0; n < 33; n++) response.write(part);
    });
    const fetched = fetchCerts(parseEnvoyAdmin(address), terminal);
    await assert.rejects(fetched, { message: /its answer has more than 33554432 bytes$/ });
  });

  it('ends when it is told to', async (t) => {
    const stop = new AbortController();
    const address = await http(t, () => stop.abort());
    const fetched = fetchCerts(parseEnvoyAdmin(address), { ...terminal, signal: stop.signal });
    await assert.rejects(fetched, { code: 'ERR_SHUTDOWN' });
  });
});
