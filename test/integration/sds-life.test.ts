import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, createPublicKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { IdentityError } from '../../src/core/errors.ts';
import type { Issuer } from '../../src/issuer/issuer.ts';
import { startApp, type Entry, type StatusStream, type TestApp } from '../support/app.ts';
import { startChild } from '../support/child.ts';
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
const API = 'spiffe://example.org/api';
const entries: readonly Entry[] = [{ spiffe_id: WEB }];
/** SVIDs that are renewed four times a second. */
const FAST = { issuer: { x509_svid_ttl: '5s' }, rotation: { fraction: 0.05, jitter: 0 } };

function certificate(response: DecodedResponse | undefined) {
  const secret = response?.secrets[0];
  assert.ok(secret?.kind === 'certificate', secret?.kind);
  const spki = createPublicKey(secret.key).export({ type: 'spki', format: 'der' });
  return {
    serial: new X509Certificate(secret.chain).serialNumber,
    key: createHash('sha256').update(spki).digest('hex'),
  };
}

async function streamsOf(app: TestApp): Promise<StatusStream[]> {
  return (await app.status()).proxies.flatMap(({ streams }) => streams);
}

async function metric(app: TestApp, line: RegExp): Promise<number> {
  const found = line.exec(await app.get('/metrics'));
  return Number(found?.[1]);
}

/** An issuer that fails while `fault` is set. */
function fragile() {
  const state: { fault: Error | undefined; mints: number } = { fault: undefined, mints: 0 };
  const decorateIssuer = (issuer: Issuer): Issuer => ({
    ...issuer,
    async mint(request, options) {
      state.mints++;
      if (state.fault) throw state.fault;
      return issuer.mint(request, options);
    },
  });
  return { state, decorateIssuer };
}

describe('keys and processes', { timeout: 60_000 }, () => {
  it('gives a process that reconnects the same SVID and key, another process never', async () => {
    await using app = await startApp({ entries });
    const fetched = [];
    for (let n = 0; n < 2; n++) {
      using proxy = connectProxy(app.socketPath);
      const stream = proxy.stream();
      stream.ask('default');
      fetched.push(certificate(await stream.next()));
      stream.cancel();
    }
    assert.deepEqual(fetched[0], fetched[1]);
    const script = fileURLToPath(new URL('../support/sds-child.ts', import.meta.url));
    await using child = await startChild(process.execPath, [
      ...['--import', 'tsx', script],
      app.socketPath,
    ]);
    await eventually(() => child.ended(), { what: 'the other process ends' });
    const other = JSON.parse(child.log()) as { serial: string; key: string };
    assert.notEqual(other.serial, fetched[0]?.serial);
    assert.notEqual(other.key, fetched[0]?.key);
  });

  it('counts an SVID that may not leave as an error, not as issued', async () => {
    const decorateIssuer = (issuer: Issuer): Issuer => ({
      ...issuer,
      mint: async (request, options) => {
        const [svid, other] = [
          await issuer.mint(request, options),
          await issuer.mint(request, options),
        ];
        return { ...svid, key: other.key };
      },
    });
    await using app = await startApp({ entries, deps: { decorateIssuer } });
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.ask('default');
    const count = (result: string) =>
      metric(app, new RegExp(`^credence_issuer_x509_svids_total{result="${result}"} (\\d+)$`, 'm'));
    await eventually(async () => (await count('error')) > 0, { what: 'the mint is withheld' });
    assert.equal(await count('issued'), 0);
    assert.deepEqual(stream.responses, []);
  });

  it('signs once for all streams of a process', async () => {
    const { state, decorateIssuer } = fragile();
    await using app = await startApp({ entries, deps: { decorateIssuer } });
    using proxy = connectProxy(app.socketPath);
    const streams = Array.from({ length: 50 }, () => proxy.stream());
    for (const stream of streams) stream.ask('default');
    const serials = new Set<string>();
    for (const stream of streams) serials.add(certificate(await stream.next()).serial);
    assert.deepEqual([serials.size, state.mints], [1, 1]);
  });
});

describe('rotation', { timeout: 60_000 }, () => {
  it('pushes each renewed SVID once and leaves what did not change alone', async () => {
    await using app = await startApp({ entries, settings: FAST });
    using proxy = connectProxy(app.socketPath);
    const [svid, bundle] = [proxy.stream(), proxy.stream()];
    bundle.ask('ROOTCA');
    await bundle.next();
    bundle.ack();
    svid.ask('default');
    const seen: { serial: string; key: string; version: string }[] = [];
    for (let n = 0; n < 5; n++) {
      const response = await svid.next();
      seen.push({ ...certificate(response), version: response.version });
      svid.ack();
    }
    for (const what of ['serial', 'key', 'version'] as const) {
      assert.equal(new Set(seen.map((one) => one[what])).size, 5, what);
    }
    assert.equal(bundle.responses.length, 1);
    const lag = await metric(app, /^credence_rotation_lag_seconds_count (\d+)$/m);
    assert.ok(lag >= 4);
  });

  it('keeps the valid SVID while signing fails, and ends with a reason once it ran out', async () => {
    const { state, decorateIssuer } = fragile();
    await using app = await startApp({
      entries,
      settings: { ...FAST, sds: { pending_timeout: '200ms' } },
      deps: { decorateIssuer },
    });
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.ask('default');
    const { serial } = certificate(await stream.next());
    state.fault = new IdentityError('ERR_ISSUER', 'the disk /var/lib is full');
    // Another stream of the process gets the one that is still valid.
    await eventually(() => state.mints >= 3, { what: 'renewals fail' });
    using second = connectProxy(app.socketPath);
    assert.ok(certificate(await second.fetch({ resource_names: ['default'] })).serial);
    const { code, details } = await stream.ending();
    assert.deepEqual([code, details], ['UNAVAILABLE', 'default could not be signed yet']);
    assert.ok(serial);
  });

  it('parks a first SVID that cannot be signed, and sends it when it can', async () => {
    const { state, decorateIssuer } = fragile();
    state.fault = new IdentityError('ERR_ISSUER', 'no CA');
    await using app = await startApp({ entries, deps: { decorateIssuer } });
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.ask('default');
    await eventually(async () => /could not/.test((await streamsOf(app))[0]?.waiting[0] ?? ''), {
      what: 'the failure shows in the status',
    });
    state.fault = undefined;
    assert.ok(certificate(await stream.next()));
  });

  it('signs for nobody once nobody asks', async () => {
    const { state, decorateIssuer } = fragile();
    await using app = await startApp({ entries, settings: FAST, deps: { decorateIssuer } });
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.ask('default');
    for (let n = 0; n < 2; n++) await stream.next();
    stream.cancel();
    // Held no longer than until its renewal would be due.
    await eventually(async () => (await app.status()).rotation.held_svids === 0, {
      what: 'the SVID is dropped',
    });
    const { mints } = state;
    using other = connectProxy(app.socketPath);
    await other.fetch({ resource_names: ['ROOTCA'] });
    assert.equal(state.mints, mints);
  });
});

describe('refusals by a proxy', { timeout: 60_000 }, () => {
  it('shows its words, keeps the good version and does not send the bad one again', async () => {
    await using app = await startApp({ entries });
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.ask('ROOTCA');
    const good = await stream.next();
    stream.ack('ROOTCA', 'default');
    const bad = await stream.next();
    stream.nack('Failed to load private key', 'ROOTCA', 'default');
    const secret = await eventually(
      async () => (await streamsOf(app))[0]?.secrets.find(({ refused }) => refused),
      { what: 'the refusal shows' },
    );
    assert.equal(secret.name, 'default');
    assert.deepEqual(secret.refused, { version: bad.version, text: 'Failed to load private key' });
    const [kept] = (await streamsOf(app))[0]?.secrets ?? [];
    assert.deepEqual([kept?.name, kept?.acknowledged], ['ROOTCA', good.version]);
    assert.equal(await metric(app, /^credence_sds_pushes_total\{.*"sotw",.*"nack"\} (\d+)$/m), 1);
    const [line] = app.log.lines.filter(({ message }) => message === 'proxy refused an update');
    assert.deepEqual([line?.level, line?.fields.detail], ['warn', 'Failed to load private key']);
    // A change of the policy makes it look again; nothing is to be sent.
    await app.setPolicy([{ spiffe_id: WEB, priority: 1 }, { spiffe_id: API }]);
    await eventually(async () => (await app.status()).policy.entries === 2, {
      what: 'the policy is loaded',
    });
    stream.nack('again', 'ROOTCA', 'default', API);
    assert.equal((await stream.next()).secrets[0]?.name, API);
    assert.equal(stream.responses.length, 3);
  });

  it('sends the next version after one was refused', async () => {
    await using app = await startApp({ entries, settings: FAST });
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.ask('default');
    await stream.next();
    stream.nack('no');
    const { version } = await stream.next();
    stream.ack();
    await eventually(
      async () =>
        (await streamsOf(app))[0]?.secrets.some(({ acknowledged }) => acknowledged === version),
      { what: 'the new one counts' },
    );
  });
});

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
      for (let n = 0; n < 5; n++) seen.push(certificate(await other.next()).serial);
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
      const [first = '', second = ''] = responses.map((response) => certificate(response).serial);
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
