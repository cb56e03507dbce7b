import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { startChild, type Child } from '../support/child.ts';
import { CREDENCE, runCredence } from '../support/credence-command.ts';
import { entryForMe } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { openSdsStream } from '../support/sds-stream.ts';

const ME = 'spiffe://example.org/me';
const UNAVAILABLE = 14;

/** A folder with what a daemon needs to start. */
function installed(t: TestContext, settings = '', metrics = '') {
  const dir = mkdtempSync(join(tmpdir().length <= 60 ? tmpdir() : '/tmp', 'credence-life-'));
  const at = (name: string) => join(dir, name);
  const setPolicy = (text: string) => {
    writeFileSync(at('policy.new'), text);
    renameSync(at('policy.new'), at('policy.yaml'));
  };
  setPolicy(JSON.stringify({ entries: [entryForMe(ME)] }));
  writeFileSync(
    at('credence.yaml'),
    'trust_domain: example.org\nsocket_path: api.sock\nextra_socket_paths: [other.sock]\n' +
      'admin_socket_path: private/admin.sock\ndata_dir: data\npolicy: {paths: [policy.yaml]}\n' +
      `telemetry: {metrics_address: '${metrics}'}\n${settings}`,
  );
  let child: Child | undefined;
  t.after(async () => {
    await child?.stop('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  });
  const run = (...args: string[]) => runCredence([...args, '--config', at('credence.yaml')]);
  const start = async () =>
    (child = await startChild(process.execPath, [
      CREDENCE,
      'run',
      '--config',
      at('credence.yaml'),
    ]));
  return { at, setPolicy, run, start };
}

/** The built daemon, run as a service manager would: its process and its exit code are ours. */
async function startDaemon(t: TestContext, settings = '', metrics = '') {
  const { at, setPolicy, run, start } = installed(t, settings, metrics);
  const child = await start();
  await eventually(async () => (await run('health')).code === 0, {
    what: 'credence is ready',
    hopeless: () => child.ended() && child.log(),
  });
  return { child, at, setPolicy, run, sockets: ['api.sock', 'other.sock', 'private/admin.sock'] };
}

/** Ends it as asked, without the patience of `stop`. */
async function end(child: Child, ...signals: NodeJS.Signals[]): Promise<string | undefined> {
  for (const signal of signals) process.kill(child.pid, signal);
  return eventually(() => child.ended(), { what: 'credence ends' });
}

describe('a first start that fails', { concurrency: true }, () => {
  const made = (folder: string) =>
    existsSync(folder) ? readdirSync(folder, { recursive: true }).map(String) : [];

  it('makes nothing when the policy is bad', async (t) => {
    const { at, setPolicy, run } = installed(t);
    setPolicy('entries: [\n');
    const { code, err } = await run('run');
    assert.equal(code, 64);
    assert.match(err, /policy\.yaml:/);
    assert.ok(!existsSync(at('data')));
  });

  it('makes no key and no journal when the metrics port is taken', async (t) => {
    const squatter = createServer().listen(0, '127.0.0.1');
    await once(squatter, 'listening');
    t.after(() => squatter.close());
    const { port } = squatter.address() as AddressInfo;
    const { at, run } = installed(t, '', `127.0.0.1:${port}`);
    const { code, err } = await run('run');
    assert.equal(code, 1);
    assert.match(err, /cannot serve metrics on .*EADDRINUSE/);
    assert.deepEqual(made(at('data')), ['lock']);
  });

  it('makes no key and no journal when a socket cannot be bound', async (t) => {
    const { at, run } = installed(t);
    writeFileSync(at('other.sock'), 'precious');
    const { code, err } = await run('run');
    assert.equal(code, 1);
    assert.match(err, /other\.sock exists and is not a socket/);
    assert.deepEqual(made(at('data')), ['lock']);
    for (const name of ['api.sock', 'private/admin.sock']) assert.ok(!existsSync(at(name)), name);
  });

  it('says so when its lock is a pipe, and does not wait for it', async (t) => {
    const { at, run } = installed(t);
    mkdirSync(at('data'), 0o700);
    assert.equal(spawnSync('mkfifo', ['-m', '600', at('data/lock')]).status, 0);
    const { code, err } = await run('run');
    assert.equal(code, 1);
    assert.match(err, /^credence: cannot lock .*data\/lock: it is not a regular file\nhint: /m);
    assert.deepEqual(made(at('data')), ['lock']);
  });
});

describe('a running daemon', { concurrency: true }, () => {
  it('says where everything is, the metrics on whichever port they got', async (t) => {
    const { child, at } = await startDaemon(t, '', '127.0.0.1:0');
    const lines = child
      .log()
      .split('\n')
      .filter((line) => /^\w/.test(line));
    assert.deepEqual(lines.slice(0, 3), [
      'credence serves trust domain example.org with 1 policy entries',
      `public socket  ${at('api.sock')}`,
      `admin socket   ${at('private/admin.sock')}`,
    ]);
    const url = /^metrics {8}(http:\/\/127\.0\.0\.1:\d+\/metrics)$/.exec(lines[3] ?? '')?.[1];
    const metrics = await fetch(url ?? assert.fail(lines[3]));
    assert.match(await metrics.text(), /^credence_build_info\{.*\} 1$/m);
  });

  it('keeps what it has when a change of the policy is broken, and says so', async (t) => {
    const { child, at, setPolicy, run } = await startDaemon(t);
    using stream = openSdsStream(at('api.sock'), ['default']);
    await eventually(() => stream.responses.length === 1, { what: 'the first secret' });
    const refusals = () =>
      child
        .log()
        .split('\n')
        .filter((line) => line.includes('policy change refused')).length;
    for (const [n, broken] of [
      'entries: [\n',
      'entries:\n  - spiffe_id: spiffe://other.example/me\n    selectors: [unix:uid:0]\n',
      `entries:\n  - spiffe_id: ${ME}\n`,
      '',
    ].entries()) {
      setPolicy(broken);
      await eventually(() => refusals() > n, { what: `the refusal of change ${n}` });
      const shown = await run('status', '--json');
      const status = JSON.parse(shown.out) as { policy: { entries: number; last_error: string } };
      assert.equal(status.policy.entries, 1);
      assert.match(status.policy.last_error, /policy\.yaml/);
      assert.equal((await run('health', '--ready')).code, 0);
      assert.equal((await run('fetch', 'x509')).code, 0);
    }
    assert.equal(stream.responses.length, 1);
    assert.equal(stream.ended(), undefined);

    // The next good one counts again, for who is connected too.
    setPolicy(JSON.stringify({ entries: [entryForMe('spiffe://example.org/other')] }));
    await eventually(() => stream.responses.length === 2, { what: 'the other identity' });
    assert.equal(stream.ended(), undefined);
    const shown = await run('status', '--json');
    const status = JSON.parse(shown.out) as { policy: { last_error: string | null } };
    assert.equal(status.policy.last_error, null);
  });

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`ends its streams, takes its sockets away and exits 0 on ${signal}`, async (t) => {
      const { child, at, sockets } = await startDaemon(t);
      using stream = openSdsStream(at('api.sock'), ['default']);
      await eventually(() => stream.responses.length === 1, { what: 'the first secret' });
      for (const name of sockets) assert.ok(existsSync(at(name)), name);

      assert.equal(await end(child, signal), 'ended with code 0');
      const status = await eventually(() => stream.ended(), { what: 'the stream ends' });
      assert.equal(status.code, UNAVAILABLE);
      assert.match(status.details, /shutting%20down|shutting down/);
      for (const name of sockets) assert.ok(!existsSync(at(name)), `${name} is left`);
      // The keys stay: the next start goes on with them.
      assert.ok(readFileSync(at('data/journal.json')).length > 0);
      assert.match(child.log(), /"msg":"draining".*\n.*"msg":"stopped"/);
    });
  }

  it('puts its admin socket back, and leaves alone what stands in its place', async (t) => {
    const { child, at, run } = await startDaemon(t);
    using stream = openSdsStream(at('api.sock'), ['default']);
    const answers = () =>
      eventually(async () => (await run('health', '--ready')).code === 0, { what: 'an answer' });
    const mode = (name: string) => statSync(at(name)).mode & 0o777;
    rmSync(at('private'), { recursive: true });
    await answers();
    assert.deepEqual([mode('private'), mode('private/admin.sock')], [0o700, 0o600]);

    rmSync(at('private/admin.sock'));
    writeFileSync(at('private/admin.sock'), 'a note');
    const lost = /"component":"admin".*"msg":"the socket is no longer there, nobody can connect"/;
    await eventually(() => lost.test(child.log()), { what: 'a daemon that notices' });
    assert.equal(readFileSync(at('private/admin.sock'), 'utf8'), 'a note');
    rmSync(at('private/admin.sock'));
    await answers();

    assert.deepEqual([stream.responses.length, stream.ended()], [1, undefined]);
    assert.equal(await end(child, 'SIGTERM'), 'ended with code 0');
    assert.ok(!existsSync(at('private/admin.sock')));
  });

  it('takes a signal that arrives twice at once, as Ctrl-C under npm does, for one', async (t) => {
    const { child, at } = await startDaemon(t);
    using stream = openSdsStream(at('api.sock'), ['default']);
    await eventually(() => stream.responses.length === 1, { what: 'the first secret' });
    assert.equal(await end(child, 'SIGINT', 'SIGINT'), 'ended with code 0');
    const status = await eventually(() => stream.ended(), { what: 'the stream ends' });
    assert.equal(status.code, UNAVAILABLE);
  });

  it('waits no longer than its drain deadline for who does not go', async (t) => {
    const { child, at } = await startDaemon(t, 'drain_deadline: 200ms\n');
    const silent = connect(at('api.sock'));
    await once(silent, 'connect');
    t.after(() => silent.destroy());
    assert.equal(await end(child, 'SIGTERM'), 'ended with code 0');
  });

  it('goes on without a reader of its output and its log', async (t) => {
    const { at, run, child } = await startDaemon(t);
    await end(child, 'SIGTERM');
    const unread = spawn(process.execPath, [CREDENCE, 'run', '--config', at('credence.yaml')], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const gone = once(unread, 'exit');
    t.after(() => unread.kill('SIGKILL'));
    unread.stdout.destroy();
    unread.stderr.destroy();
    await eventually(async () => (await run('health')).code === 0, { what: 'credence is ready' });
    // Each of these writes lines to nobody.
    for (let n = 0; n < 3; n++) assert.equal((await run('fetch', 'x509')).code, 0);
    unread.kill('SIGTERM');
    assert.deepEqual(await gone, [0, null]);
  });
});
