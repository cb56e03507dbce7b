import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { listOf, startApiServer } from '../support/api-server.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { eventually } from '../support/eventually.ts';
import { pod } from '../support/pods.ts';
import { credence } from '../support/transcript.ts';

const UID = process.getuid?.() ?? 0;
const SELECTOR = `unix:uid:${UID}`;
const ENTRIES = [
  { spiffe_id: 'spiffe://example.org/second' },
  { spiffe_id: 'spiffe://example.org/first', priority: 1 },
  { spiffe_id: 'spiffe://example.org/near', selectors: [SELECTOR, 'unix:uid:123456'] },
  { spiffe_id: 'spiffe://example.org/far', selectors: ['unix:uid:7', 'unix:uid:8'] },
  { spiffe_id: 'spiffe://example.org/ns/{k8s:ns}' },
];

interface Explanation {
  readonly pid: number;
  readonly start_ticks: number;
  readonly uid: number;
  readonly gid: number;
  readonly selectors: readonly string[];
  readonly identities: readonly { readonly spiffe_id: string; readonly default: boolean }[];
  readonly entries: readonly {
    readonly verdict: string;
    readonly spiffe_id: string;
    readonly missing?: readonly string[];
  }[];
}

const adminSocket = (app: TestApp) => join(dirname(app.socketPath), 'admin.sock');

/** GET on the app's admin socket. */
function ask(app: TestApp, path: string): Promise<{ code: number | undefined; body: string }> {
  const socketPath = adminSocket(app);
  return new Promise((resolve, reject) => {
    request({ socketPath, path, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (part: string) => (body += part));
      response.once('end', () => resolve({ code: response.statusCode, body }));
    })
      .once('error', reject)
      .end();
  });
}

describe('credence explain', () => {
  const explain = (app: TestApp, ...args: string[]) =>
    credence(['explain', '--admin-socket', adminSocket(app), ...args]);

  it('walks from a process to its identities and says what each other entry lacks', async () => {
    await using app = await startApp({ entries: ENTRIES });
    const { code, out, err } = await explain(app, '--pid', String(process.pid));
    assert.deepEqual([code, err], [0, '']);
    const gid = process.getgid?.() ?? 0;
    assert.ok(out.startsWith(`process     pid ${process.pid}, uid ${UID}, gid ${gid}\n`), out);
    for (const line of [
      /^selectors {3}unix:/m,
      new RegExp(`^.{12}${SELECTOR}$`, 'm'),
      /^identities {2}spiffe:\/\/example\.org\/first \(priority 1, \/.+:\d+\)$/m,
      /^ {12}spiffe:\/\/example\.org\/second \(priority 0, \/.+:\d+\)$/m,
      'default     spiffe://example.org/first, as priority 1 is the highest',
      /^unresolved {2}\S+\/ns\/\{k8s:ns\} \(.+:\d+\): \{k8s:ns\}: the caller has no such selector$/m,
      new RegExp(
        `^missed {6}\\S+/near \\(.+:\\d+\\): misses unix:uid:123456 \\(it has ${SELECTOR}\\)$`,
        'm',
      ),
    ]) {
      assert.ok(typeof line === 'string' ? out.includes(line) : line.test(out), `${line}\n${out}`);
    }
  });

  it('prints the document of the daemon with --json and exits 1 without an identity', async () => {
    await using app = await startApp({ entries: [] });
    const { code, out } = await explain(app, '--pid', String(process.pid), '--json');
    assert.equal(code, 1);
    const document = JSON.parse(out) as Explanation;
    assert.deepEqual([document.pid, document.identities], [process.pid, []]);
    const told = await explain(app, '--pid', String(process.pid));
    assert.match(told.out, /^identities {2}none: no policy entry applies, and none is near$/m);
  });

  it('asks the daemon what selectors would get when no configuration is named', async () => {
    await using app = await startApp({ entries: ENTRIES });
    const { code, out } = await explain(app, '--selectors', `${SELECTOR},k8s:ns:blue`);
    assert.equal(code, 0);
    assert.match(out, /^ {12}spiffe:\/\/example\.org\/ns\/blue /m);
    assert.doesNotMatch(out, /^process/m);
  });

  it('says that there is no such process', async () => {
    await using app = await startApp({ entries: [] });
    assert.deepEqual(await explain(app, '--pid', '4194304'), {
      code: 1,
      out: '',
      err: 'credence: there is no process with pid 4194304\n',
    });
  });
});

describe('/explain', () => {
  it('says what a process would get that has never connected, and what it misses', async () => {
    await using app = await startApp({ entries: ENTRIES });
    const child = spawn(process.execPath, ['--eval', 'process.stdin.resume()']);
    await once(child, 'spawn');
    try {
      const { code, body } = await ask(app, `/explain?pid=${child.pid}`);
      assert.equal(code, 200);
      const told = JSON.parse(body) as Explanation;
      assert.deepEqual([told.pid, told.uid], [child.pid, UID]);
      assert.ok(told.start_ticks > 0);
      assert.ok(told.selectors.includes(SELECTOR), told.selectors.join());
      assert.deepEqual(
        told.identities.map((identity) => [identity.spiffe_id, identity.default]),
        [
          ['spiffe://example.org/first', true],
          ['spiffe://example.org/second', false],
        ],
      );
      const verdicts = told.entries.map(({ verdict, spiffe_id }) => [spiffe_id, verdict]);
      assert.deepEqual(verdicts, [
        ['spiffe://example.org/second', 'applies'],
        ['spiffe://example.org/first', 'applies'],
        ['spiffe://example.org/ns/{k8s:ns}', 'placeholder'],
        ['spiffe://example.org/near', 'missing'],
      ]);
      assert.deepEqual(told.entries.at(-1)?.missing, ['unix:uid:123456']);
      assert.doesNotMatch(body, /PRIVATE/);
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    const gone = await ask(app, `/explain?pid=${child.pid}`);
    assert.equal(gone.code, 404);
    assert.match(gone.body, new RegExp(`there is no process with pid ${child.pid}`));
  });

  it('follows the policy', async () => {
    await using app = await startApp({ entries: [] });
    const explained = async () =>
      JSON.parse((await ask(app, `/explain?pid=${process.pid}`)).body) as Explanation;
    assert.deepEqual([(await explained()).identities, (await explained()).entries], [[], []]);
    await app.setPolicy(ENTRIES);
    await eventually(async () => (await explained()).identities.length === 2, {
      what: 'the new policy counts',
    });
  });

  it('refuses what is no pid', async () => {
    await using app = await startApp({ entries: ENTRIES });
    for (const query of [
      '',
      '?pid',
      '?pid=',
      '?pid=0',
      '?pid=-1',
      '?pid=+1',
      '?pid=1.5',
      '?pid=1e3',
      '?pid=0x10',
      '?pid=%201',
      '?pid=self',
      '?pid=4194305',
      '?pid=99999999999999999999',
      `?pid=${process.pid}&pid=1`,
    ]) {
      const { code, body } = await ask(app, `/explain${query}`);
      assert.equal(code, 400, query);
      assert.match(body, /"error": ".*pid/, query);
    }
    assert.equal((await ask(app, '/explain?pid=4194304')).code, 404);
  });
});

describe('credence explain --pod', () => {
  const explain = (app: TestApp, ...args: string[]) =>
    credence(['explain', '--admin-socket', adminSocket(app), ...args]);

  it('shows each container with its selectors, its identities and what others lack', async () => {
    await using api = await startApiServer();
    api.behave(listOf('1', pod({ containers: ['web', 'proxy'] })), (_, response) =>
      response.writeHead(200).flushHeaders(),
    );
    await using app = await startApp({
      entries: [
        {
          spiffe_id: 'spiffe://example.org/web',
          selectors: ['k8s:sa:web', 'k8s:container-name:web'],
        },
        { spiffe_id: 'spiffe://example.org/other', selectors: ['k8s:sa:web', 'k8s:ns:other'] },
      ],
      settings: {
        attestation: {
          kubernetes: {
            ...{ enabled: true, node_name: 'node-1', api_server: `${api.host}:${api.port}` },
            ...{ ca_file: api.caFile, token_file: api.tokenFile },
          },
        },
      },
    });
    const told = await eventually(
      async () => {
        const answer = await explain(app, '--pod', 'shop/web-1');
        return answer.code === 0 && answer;
      },
      { what: 'the pod' },
    );
    assert.equal(told.err, '');
    for (const line of [
      /^known {7}1 pod of node-1, last heard of \d s ago$/m,
      /^pod {9}shop\/web-1$/m,
      /^container {3}web$/m,
      /^container {3}proxy$/m,
      /^identities {2}spiffe:\/\/example\.org\/web \(priority 0/m,
      /^missed {6}\S+\/web \(.+\): misses k8s:container-name:web \(it has k8s:container-name:proxy\)$/m,
      /\S+\/other \(.+\): misses k8s:ns:other \(it has k8s:ns:shop\)$/m,
    ]) {
      assert.match(told.out, line);
    }
    const unknown = await explain(app, '--pod', 'shop/web-2');
    assert.equal(unknown.code, 1);
    assert.match(
      unknown.err,
      /pod shop\/web-2 is not known here \(1 pod of node-1, last heard of \d s ago\)/,
    );
    const process_ = await explain(app, '--pid', String(process.pid));
    assert.match(process_.out, /^socket {6}\/.+api\.sock, no open stream of this process$/m);
    assert.match(process_.out, /^cgroup {6}\//m);
  });

  it('says that no pods are known where they are not asked for', async () => {
    await using app = await startApp({ entries: [] });
    const { code, err } = await explain(app, '--pod', 'shop/web-1');
    assert.equal(code, 1);
    assert.match(err, /attestation\.kubernetes is not enabled/);
    assert.equal((await explain(app, '--pod', 'web-1')).code, 64);
    assert.equal((await ask(app, '/explain?pod=web-1')).code, 400);
  });
});
