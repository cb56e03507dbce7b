import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { startApp, type Entry, type StatusStream, type TestApp } from '../support/app.ts';
import { createDaemon, entryForMe } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { callHeaders, data, grpcMessage, OPENING, openCall } from '../support/http2-frames.ts';
import { PYTHON } from '../support/peer-process.ts';
import { connectProxy } from '../support/sds-proxy.ts';
import {
  decodeResponse,
  encodeRequest,
  SECRET_TYPE,
  type DecodedResponse,
} from '../support/secrets.ts';

const WEB = 'spiffe://example.org/web';
const entries: readonly Entry[] = [{ spiffe_id: WEB }];
/** SVIDs that are renewed four times a second. */
const FAST = { issuer: { x509_svid_ttl: '5s' }, rotation: { fraction: 0.05, jitter: 0 } };

function serialIn(response: DecodedResponse | undefined): string {
  const secret = response?.secrets[0];
  assert.ok(secret?.kind === 'certificate', secret?.kind);
  return new X509Certificate(secret.chain).serialNumber;
}

async function streamsOf(app: TestApp): Promise<StatusStream[]> {
  return (await app.status()).proxies.flatMap(({ streams }) => streams);
}

describe('a reader that stops', { timeout: 60_000 }, () => {
  it('costs one response and gets the newest state when it goes on', async () => {
    await using app = await startApp({ entries, settings: FAST });
    const session: ClientHttp2Session = connectHttp2('http://sds', {
      createConnection: () => connect(app.socketPath),
      settings: { initialWindowSize: 0 },
    });
    try {
      const stream = session.request(Object.fromEntries(callHeaders()));
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      const request = encodeRequest({ resource_names: ['default'], type_url: SECRET_TYPE });
      stream.write(grpcMessage(request));
      using proxy = connectProxy(app.socketPath);
      const other = proxy.stream();
      other.ask('default');
      const seen: string[] = [];
      for (let n = 0; n < 5; n++) seen.push(serialIn(await other.next()));
      other.cancel();
      // Neither acknowledges: what is on its way to the stopped reader is one response.
      await eventually(
        async () => {
          const unanswered = (await streamsOf(app)).map((one) => one.unanswered_pushes);
          return unanswered.length === 1 && unanswered[0] === 1;
        },
        { what: 'one response waits for the reader' },
      );
      session.settings({ initialWindowSize: 1_000_000 });
      const responses = await eventually(
        () => {
          const all = messages(Buffer.concat(chunks)).map(decodeResponse);
          return all.length >= 2 && all;
        },
        { what: 'the reader gets what it missed' },
      );
      const [first = '', second = ''] = responses.map(serialIn);
      assert.ok(first !== seen.at(-1) && first !== second, 'the first is old');
      assert.ok(!seen.slice(0, -1).includes(second), 'the second is the newest or a later one');
    } finally {
      session.destroy();
    }
  });
});

describe('a process that ends', { timeout: 60_000 }, () => {
  // Sends what is in argv[2], hands its socket to a child and ends: the connection stays open.
  const PROGRAM = `
import os, socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(bytes.fromhex(sys.argv[2]))
print(os.getpid(), flush=True)
sys.stdin.readline()
if os.fork() == 0:
    s.settimeout(20)
    while True:
        if not s.recv(65536): break
    os._exit(0)
os._exit(0)
`;

  it('takes its streams with it, also when another process holds the socket', async () => {
    await using app = await startApp({ entries });
    const request = encodeRequest({ resource_names: ['default'], type_url: SECRET_TYPE });
    const bytes = Buffer.concat([OPENING, openCall(1), data(1, grpcMessage(request))]);
    const child = spawn(PYTHON, ['-c', PROGRAM, app.socketPath, bytes.toString('hex')], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const [pid] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string];
    const mine = async () =>
      (await app.status()).proxies.filter((proxy) => proxy.pid === Number(pid));
    await eventually(async () => (await mine())[0]?.streams[0]?.secrets[0]?.sent, {
      what: 'the process is served',
    });
    const held = (await app.status()).rotation.held_svids;
    child.stdin.end('go\n');
    await eventually(async () => (await mine()).length === 0, {
      what: 'its stream ends',
      timeoutMs: 5000,
    });
    assert.equal((await app.status()).rotation.held_svids, held - 1);
  });
});

describe('shutdown', { timeout: 60_000 }, () => {
  it('ends streams with a reason, and connections that do not close by force', async () => {
    const app = await startApp({ entries, settings: { drain_deadline: '300ms' } });
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.ask('default');
    await stream.next();
    const silent = connect(app.socketPath);
    const stubborn = connectHttp2('http://sds', {
      createConnection: () => connect(app.socketPath),
    });
    stubborn.on('error', () => undefined);
    const open = stubborn.request(Object.fromEntries(callHeaders()));
    open.on('error', () => undefined);
    open.write(grpcMessage(encodeRequest({ resource_names: ['ROOTCA'] })));
    await once(open, 'data');
    const started = performance.now();
    const ends = [silent, stubborn].map(
      (end) => new Promise<void>((resolve) => end.once('close', () => resolve())),
    );
    silent.resume();
    await app.close();
    assert.ok(performance.now() - started < 3000);
    assert.deepEqual(await stream.ending(), {
      code: 'UNAVAILABLE',
      details: 'credence is shutting down',
    });
    await Promise.all(ends);
    await app[Symbol.asyncDispose]();
  });

  it('is what SIGTERM means, and leaves no socket behind', async () => {
    await using daemon = await createDaemon({ entries: [entryForMe(WEB)] });
    await daemon.start();
    using proxy = connectProxy(daemon.socketPath);
    const stream = proxy.stream();
    stream.ask('default');
    await stream.next();
    const ending = stream.ending();
    await daemon.stop('SIGTERM');
    assert.deepEqual(await ending, {
      code: 'UNAVAILABLE',
      details: 'credence is shutting down',
    });
    const socket = connect(daemon.socketPath);
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    assert.equal(error.code, 'ENOENT');
  });
});

/** The messages in a response body. */
function messages(body: Buffer): Buffer[] {
  const all: Buffer[] = [];
  for (let at = 0; at + 5 <= body.length;) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    if (end > body.length) break;
    all.push(body.subarray(at + 5, end));
    at = end;
  }
  return all;
}
