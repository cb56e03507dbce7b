import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { X509Certificate } from 'node:crypto';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { caRevoke } from '../../src/cli/ca-revoke.ts';
import { parseConfig } from '../../src/config.ts';
import { silentLogger } from '../../src/core/log.ts';
import { systemRandom } from '../../src/core/random.ts';
import { startSigner } from '../../src/signer-app.ts';
import { startApiServer, type ApiServer } from '../support/api-server.ts';
import { recordsOf, verifyFiles } from '../support/audit.ts';
import { createFakeCluster, type FakeCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { httpGet } from '../support/http-client.ts';
import { newKey, nodeRequest, type Wish } from '../support/node-requests.ts';

const REQUESTS = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
const SECRETS = '/api/v1/namespaces/credence/secrets';
const CONFIG_MAPS = '/api/v1/namespaces/credence/configmaps';
const PODS = '/api/v1/namespaces/credence/pods';
const DAY = 86_400_000;

interface Condition {
  readonly type: string;
  readonly reason: string;
  readonly message: string;
}

interface Fields {
  readonly data: Readonly<Record<string, string>>;
  readonly status?: { certificate?: string; conditions?: Condition[] };
}

/** A cluster with any number of signers. */
interface Setup {
  readonly server: ApiServer;
  readonly cluster: FakeCluster;
  readonly clock: FakeClock;
  readonly file: string;
  readonly start: (
    settings?: object,
    telemetry?: object,
  ) => Promise<{ readonly port: number | undefined; close(): void }>;
  readonly ask: (node: string, wish?: Wish) => Promise<string>;
  readonly object: (path: string, name: string) => Promise<Fields>;
  readonly conditions: (name: string) => Promise<readonly Condition[]>;
  /** The chain that the request was given. */
  readonly chain: (name: string) => Promise<readonly X509Certificate[]>;
  readonly roots: () => Promise<readonly X509Certificate[]>;
  /** Lets time go on until something is so. */
  readonly until: (what: string, probe: () => Promise<boolean> | boolean) => Promise<void>;
}

async function setUp(t: TestContext): Promise<Setup> {
  const server = await startApiServer();
  const cluster = createFakeCluster();
  server.behave(cluster.behaviour);
  const clock = new FakeClock(Math.floor(Date.now() / 1000) * 1000);
  const folder = mkdtempSync(join(tmpdir(), 'credence-signer-'));
  const file = join(folder, 'signer.yaml');
  const running: { close(): void }[] = [];
  t.after(async () => {
    for (const one of running) one.close();
    await server[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });
  const { caFile, tokenFile, host, port } = server;
  const object = async (path: string, name: string) =>
    JSON.parse(await call(server, `${path}/${name}`)) as Fields;
  const pems = (text: string) =>
    (text.match(/-----BEGIN[\s\S]*?END CERTIFICATE-----/g) ?? []).map(
      (pem) => new X509Certificate(pem),
    );
  const until: Setup['until'] = (what, probe) =>
    eventually(
      async () => {
        if (await probe()) return true;
        await clock.advance(500);
        return undefined;
      },
      { what },
    ).then(() => undefined);
  const status = async (name: string) => (await object(REQUESTS, name)).status ?? {};
  return {
    ...{ server, cluster, clock, file, object, until },
    async start(settings = {}, more = {}) {
      const signer = {
        ...{ api_server: `${host}:${port}`, ca_file: caFile, token_file: tokenFile },
        ...settings,
      };
      const telemetry = { metrics_address: '127.0.0.1:0', ...more };
      const text = JSON.stringify({ trust_domain: 'example.org', signer, telemetry });
      writeFileSync(file, text);
      const config = parseConfig(text, file, {});
      const app = await startSigner(config, { clock, random: systemRandom, log: silentLogger });
      running.push(app);
      return app;
    },
    async ask(node, wish) {
      const request = await nodeRequest(node, wish);
      const pod = { metadata: { uid: `pod-${node}` }, spec: { nodeName: node } };
      cluster.put(PODS, `credence-${node}`, pod);
      cluster.put(REQUESTS, request.metadata.name, request);
      return request.metadata.name;
    },
    conditions: async (name) => (await status(name)).conditions ?? [],
    chain: async (name) =>
      pems(Buffer.from((await status(name)).certificate ?? '', 'base64').toString()),
    async roots() {
      const map: Partial<Fields> = await object(CONFIG_MAPS, 'credence-roots');
      return pems(map.data?.['ca.crt'] ?? '');
    },
  };
}

async function call({ host, port, caFile, tokenFile }: ApiServer, path: string): Promise<string> {
  const headers = { authorization: `Bearer ${readFileSync(tokenFile, 'utf8')}` };
  return new Promise((resolve, reject) => {
    request({ host, port, path, ca: readFileSync(caFile), headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.once('end', () => resolve(text));
    })
      .once('error', reject)
      .end();
  });
}

describe('credence signer', () => {
  it('makes a root, tells nodes of it and signs the CA of a node', async (t) => {
    const { start, ask, until, chain, roots, conditions } = await setUp(t);
    const app = await start();
    const name = await ask('n1');
    await until('a certificate', async () => (await chain(name)).length === 1);
    const [ca] = await chain(name);
    const [root] = await roots();
    assert.ok(ca && root);
    assert.ok(ca.verify(root.publicKey));
    assert.equal(ca.subject, 'O=example.org\nCN=Credence node n1');
    assert.deepEqual(
      (await conditions(name)).map(({ type }) => type),
      ['Approved'],
    );
    await until('ready', async () => (await httpGet(app.port ?? 0, {}, '/ready')).status === 200);
    const metrics = (await httpGet(app.port ?? 0, {}, '/metrics')).body;
    assert.match(metrics, /credence_signer_requests_total\{result="signed"\} 1\n/);
    assert.match(metrics, /credence_signer_root_not_after_timestamp_seconds\{slot="active"\} \d/);
  });

  it('records what it signs, before anybody has it, and what it denies', async (t) => {
    const { start, ask, until, chain, conditions, file } = await setUp(t);
    const path = join(dirname(file), 'audit.jsonl');
    const app = await start({}, { audit_log_path: path });
    const name = await ask('n1');
    await until('a certificate', async () => (await chain(name)).length === 1);
    const forged = await ask('n1', { annotations: { 'credence.io/node-name': 'n2' } });
    await until('a denial', async () => (await conditions(forged)).length > 0);
    const [, signed, denied] = recordsOf(path);
    assert.deepEqual([signed?.event, signed?.['request']], ['node_ca_signed', name]);
    assert.equal((signed?.['who'] as { node: string }).node, 'n1');
    const [ca] = await chain(name);
    assert.equal(BigInt(`0x${String(signed?.['serial'])}`), BigInt(`0x${ca?.serialNumber ?? ''}`));
    assert.deepEqual(
      [denied?.event, denied?.['request'], denied?.['code']],
      ['node_ca_denied', forged, 'OtherNode'],
    );
    const metrics = (await httpGet(app.port ?? 0, {}, '/metrics')).body;
    assert.match(metrics, /credence_audit_records_total\{event="node_ca_signed"\} 1\n/);
    app.close();
    assert.equal(verifyFiles([path]).broken, undefined);
  });

  it('keeps the keys of roots in the Secret alone', async (t) => {
    const { start, ask, until, chain, object } = await setUp(t);
    await start();
    const name = await ask('n1');
    await until('a certificate', async () => (await chain(name)).length === 1);
    const { data } = await object(SECRETS, 'credence-signer');
    assert.deepEqual(
      Object.keys(data)
        .map((key) => key.replace(/[0-9a-f]{40}/, 'ID'))
        .sort(),
      ['key-ID.pem', 'state.json'],
    );
    assert.doesNotMatch(Buffer.from(data['state.json'] ?? '', 'base64').toString(), /PRIVATE/);
  });

  it('denies with a reason, and says of an approved one that it failed', async (t) => {
    const { start, ask, until, conditions, chain } = await setUp(t);
    await start();
    const forged = { 'credence.io/node-name': 'n2' };
    const denied = await ask('n1', { annotations: forged });
    const approved = {
      conditions: [{ type: 'Approved', status: 'True', reason: 'X', message: '' }],
    };
    const failed = await ask('n1', { annotations: forged, status: approved });
    for (const [name, type] of [
      [denied, 'Denied'],
      [failed, 'Failed'],
    ] as const) {
      await until(type, async () => (await conditions(name)).some((one) => one.type === type));
      const last = (await conditions(name)).at(-1);
      assert.equal(last?.reason, 'OtherNode');
      assert.match(last.message, /does not name n1/);
      assert.deepEqual(await chain(name), []);
    }
  });

  it('denies a key that was in an earlier request, also when that one is gone', async (t) => {
    const { start, ask, until, conditions, chain, cluster } = await setUp(t);
    await start();
    const key = await newKey();
    const first = await ask('n1', { key });
    await until('a certificate', async () => (await chain(first)).length === 1);
    for (const gone of [false, true]) {
      if (gone) cluster.remove(REQUESTS, first);
      const again = await ask('n1', { key });
      await until('an answer', async () => (await conditions(again)).length > 0);
      assert.equal((await conditions(again))[0]?.reason, 'KeySeenBefore');
      cluster.remove(REQUESTS, again);
    }
  });

  it('denies who asks for a pod that is gone, or that is on another node now', async (t) => {
    const { start, ask, until, conditions, cluster } = await setUp(t);
    await start();
    cluster.put(PODS, 'away', { metadata: { uid: 'pod-away' }, spec: { nodeName: 'n9' } });
    for (const pod of ['nowhere', 'away']) {
      const extra = { 'authentication.kubernetes.io/pod-name': [pod] };
      const name = await ask('n1', { extra });
      await until('an answer', async () => (await conditions(name)).length > 0);
      assert.equal((await conditions(name))[0]?.reason, 'PodGone');
    }
  });

  it('answers 500 requests at once in two replicas, each of them once', async (t) => {
    const { start, ask, until, cluster, chain, roots } = await setUp(t);
    await start();
    await start();
    await until('a root', async () => (await roots()).length === 1);
    const startedMs = performance.now();
    const names = await Promise.all(Array.from({ length: 500 }, (_, n) => ask(`n${n}`)));
    const signed = () =>
      cluster.written.filter(({ method, path }) => method === 'PUT' && path.endsWith('/status'));
    await until('500 certificates', () => signed().length >= 500);
    const tookMs = performance.now() - startedMs;
    assert.equal(new Set(signed().map(({ path }) => path)).size, 500);
    assert.equal(signed().length, 500);
    assert.equal((await chain(names[499] ?? '')).length, 1);
    assert.equal((await roots()).length, 1);
    t.diagnostic(`500 requests in ${Math.round(tookMs)} ms`);
    assert.ok(tookMs < 30_000);
  });

  it('agrees on one root when several begin at once', async (t) => {
    const { start, until, roots, object } = await setUp(t);
    await Promise.all([start(), start(), start()]);
    await until('roots', async () => (await roots()).length > 0);
    const { data } = await object(SECRETS, 'credence-signer');
    assert.equal(Object.keys(data).length, 2);
  });

  it('answers after a day in which the server was away', async (t) => {
    const { start, ask, until, clock, cluster, chain, roots } = await setUp(t);
    await start();
    await until('a root', async () => (await roots()).length === 1);
    cluster.away(true);
    clock.jump(DAY);
    await clock.advance(20_000);
    cluster.away(false);
    const name = await ask('n1');
    await until('a certificate', async () => (await chain(name)).length === 1);
  });

  it('puts the roots back that somebody has changed or deleted', async (t) => {
    const { start, until, cluster, roots, object } = await setUp(t);
    await start();
    await until('a root', async () => (await roots()).length === 1);
    const map = await object(CONFIG_MAPS, 'credence-roots');
    cluster.put(CONFIG_MAPS, 'credence-roots', { ...map, data: { 'ca.crt': 'nonsense' } });
    await until('the root again', async () => (await roots()).length === 1);
    cluster.remove(CONFIG_MAPS, 'credence-roots');
    await until('the root once more', async () => (await roots()).length === 1);
  });

  it('puts its state back that somebody has deleted, with the keys', async (t) => {
    const { start, until, cluster, roots, ask, chain } = await setUp(t);
    const app = await start();
    await until('a root', async () => (await roots()).length === 1);
    const [before] = await roots();
    cluster.remove(SECRETS, 'credence-signer');
    const first = await ask('n1');
    await until('a certificate', async () => (await chain(first)).length === 1);
    app.close();
    await start();
    const second = await ask('n2');
    await until('another', async () => (await chain(second)).length === 1);
    const [ca] = await chain(second);
    assert.ok(before && ca?.verify(before.publicKey));
  });

  it('tells of the roots that nodes come from', async (t) => {
    const { start, until, roots, file } = await setUp(t);
    const other = await setUp(t);
    await other.start();
    await other.until('its root', async () => (await other.roots()).length === 1);
    const [old] = await other.roots();
    writeFileSync(`${file}.pem`, old?.toString() ?? '');
    await start({ roots: { extra_roots_file: `${file}.pem` } });
    await until('both', async () => (await roots()).length === 2);
    assert.ok((await roots()).some((one) => one.fingerprint256 === old?.fingerprint256));
  });

  it('cuts a node off: all others leave the root, and then nobody trusts it', async (t) => {
    const setup = await setUp(t);
    const { start, until, ask, chain, roots, conditions, object, clock, file } = setup;
    await start({ new_root_delay: '10s' });
    const [stolen, good] = [await ask('n1'), await ask('n2')];
    await until(
      'both',
      async () => (await chain(stolen)).length + (await chain(good)).length === 2,
    );
    const [before] = await roots();
    const out = await revoke(file, clock, { node: 'n1' });
    assert.match(out, /^n1 gets no CA any more\. A CA of it may live: a new root is made/);
    const again = await ask('n1');
    await until('an answer', async () => (await conditions(again)).length > 0);
    assert.equal((await conditions(again))[0]?.reason, 'NodeRevoked');
    await until('the next root', async () => (await roots()).length === 2);
    const left = async () => (await object(CONFIG_MAPS, 'credence-roots')).data['tainted'];
    assert.equal(await left(), '');
    await until('word that it is left', async () => (await left()) !== '');
    const next = await ask('n2');
    await until('a new CA', async () => (await chain(next)).length === 1);
    const [ca] = await chain(next);
    assert.ok(before && ca && !ca.verify(before.publicKey));
    await until('the old root to go', async () => (await roots()).length === 1);
    const [after] = await roots();
    assert.ok(after && ca.verify(after.publicKey));
    assert.equal(await left(), '');

    assert.equal(
      await revoke(file, clock, { node: 'n1' }),
      'n1 was cut off before; no CA of it lives\n',
    );
    assert.equal(await revoke(file, clock, { node: 'n1', undo: true }), 'n1 is signed for again\n');
    const admitted = await ask('n1');
    await until('a CA', async () => (await chain(admitted)).length === 1);
  });

  it('cuts a node off that has no CA without another root', async (t) => {
    const { start, until, roots, clock, file } = await setUp(t);
    await start();
    await until('a root', async () => (await roots()).length === 1);
    const out = await revoke(file, clock, { node: 'n1' });
    assert.equal(out, 'n1 gets no CA any more; no CA of it lives\n');
    await clock.advance(300_000);
    assert.equal((await roots()).length, 1);
  });
});

async function revoke(file: string, clock: FakeClock, given: Record<string, string | boolean>) {
  let out = '';
  const code = await caRevoke({ ...given, config: file }, [], {
    ...{ out: (text) => (out += text), err: () => undefined, isTTY: false, screen: undefined },
    ...{ env: {}, exists: () => false, clock, signal: new AbortController().signal },
  });
  assert.equal(code, 0);
  return out;
}
