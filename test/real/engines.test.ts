// Containers by docker and podman themselves, whose processes hold streams through the mounted folder.
// Needs root and both. They are told to use cgroupfs: what they do with a systemd is in
// test/real/engines-systemd.test.ts.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { startApp, type TestApp } from '../support/app.ts';
import { startContainer } from '../support/container.ts';
import { eventually } from '../support/eventually.ts';
import { ANY, cgroupOf } from '../support/pod-cgroups.ts';
import {
  buildHeldStream,
  IMAGE,
  type RealEngine,
  removeParents,
  startDocker,
  startPodman,
} from '../support/real-engines.ts';
import { credence } from '../support/transcript.ts';

const WEB = 'spiffe://example.org/web';
const HOST = 'spiffe://example.org/host';
const ENTRIES = [
  {
    spiffe_id: 'spiffe://example.org/{docker:label:app}',
    selectors: ['docker:env:STAGE=test'],
    priority: 1,
  },
  { spiffe_id: HOST, selectors: ['unix:uid:0'] },
];
const POD = '01234567-89ab-cdef-0123-456789abcdef';
const VICTIM = 'cd'.repeat(32);
const UNAVAILABLE = 14;

const ENGINES = [
  ['docker', startDocker, (id: string) => `/docker/${id}`],
  ['podman', startPodman, (id: string) => `/libpod_parent/libpod-${id}`],
] as const;

for (const [name, startEngine, pathOf] of ENGINES) {
  describe(`a container by ${name}`, { timeout: 120_000 }, () => {
    const held = mkdtempSync('/tmp/credence-held-');
    let engine: RealEngine;
    let app: TestApp;
    let count = 0;

    before(async () => {
      assert.equal(process.getuid?.(), 0, 'containers are made by root');
      await buildHeldStream(join(held, 'held.cjs'));
      engine = await startEngine();
    });
    beforeEach(async () => (app = await startAppWith({})));
    afterEach(() => app[Symbol.asyncDispose]());
    after(async () => {
      await engine[Symbol.asyncDispose]();
      rmSync(held, { recursive: true });
    });

    const startAppWith = (more: Record<string, unknown>) =>
      startApp({
        entries: ENTRIES,
        settings: {
          sds: { pending_timeout: '2s', denied_park: '0s' },
          attestation: {
            docker: {
              enabled: true,
              [name === 'docker' ? 'socket_path' : 'podman_socket_path']: engine.socketPath,
              [name === 'docker' ? 'podman_socket_path' : 'socket_path']: '',
              ...more,
            },
          },
        },
      });
    /** A file that says what became of a stream, and what holds that stream. */
    const client = (...names: readonly string[]) => {
      const file = `${count++}.log`;
      writeFileSync(join(held, file), '');
      const command = ['/node/node', '/held/held.cjs', '/sock/api.sock', `/held/${file}`, ...names];
      return { command, told: () => readFileSync(join(held, file), 'utf8') };
    };
    const run = (options: readonly string[], ...command: readonly string[]) => {
      const mounts = [`${dirname(app.socketPath)}:/sock`, `${held}:/held`];
      return engine.run([...mounts.map((one) => `--volume=${one}`), ...options], ...command);
    };
    const answered = (told: () => string) =>
      eventually(() => told().startsWith('answer'), {
        what: 'the certificate',
        hopeless: () => (told().startsWith('end') ? told() : undefined),
      });
    const isRefused = async (told: () => string) => {
      await eventually(() => told().includes('end'), { what: 'the refusal' });
      assert.match(told(), new RegExp(`^(?:end ${UNAVAILABLE} .*\n)+$`));
    };
    const explain = async (pid: number) => {
      const socket = join(dirname(app.socketPath), 'admin.sock');
      const args = ['explain', '--json', '--admin-socket', socket, '--pid', String(pid)];
      const { out, err } = await credence(args);
      assert.equal(err, '');
      return JSON.parse(out) as { selectors: readonly string[]; refusal?: string };
    };
    const pids = async () => (await app.status()).proxies.map(({ pid }) => pid);
    /** Waits for a file, then goes on. */
    const once = (file: string, command: readonly string[]) => [
      ...['sh', '-c', 'until [ -e "$0" ]; do sleep 0.05; done; exec "$@"', `/held/${file}`],
      ...command,
    ];

    it('has the selectors that SPIRE gives it, and what its labels entitle it to', async () => {
      const { command, told } = client(WEB);
      const id = run(['--label=own=a:b', '--env=OWN=1 2'], ...command);
      await answered(told);
      const pid = engine.pidOf(id);
      assert.deepEqual(await pids(), [pid]);
      assert.ok(cgroupOf(pid).includes(`:${pathOf(id)}\n`), cgroupOf(pid));
      const { selectors } = await explain(pid);
      const ours = selectors.filter((one) => one.startsWith('docker:'));
      const env = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(Boolean);
      const stated = ours.filter((one) => one.startsWith('docker:env:'));
      // The runtime sets HOME itself.
      for (const one of stated) assert.ok(env.includes(one.slice(11)), one);
      for (const one of ['EMPTY=', 'STAGE=test', 'OWN=1 2']) {
        assert.ok(stated.includes(`docker:env:${one}`), ours.join('\n'));
      }
      assert.deepEqual(ours.filter((one) => !stated.includes(one)).sort(), [
        `docker:image_config_digest:${engine.imageId}`,
        `docker:image_id:${IMAGE}`,
        'docker:label:app:web',
        'docker:label:com.example/a.b:x:y z',
        'docker:label:own:a:b',
      ]);
      engine.remove(id);
    });

    it('is told apart by a label of its own, also in a process that was put into it', async () => {
      const DB = 'spiffe://example.org/db';
      const first = client(WEB);
      const id = run(['--label=app=db'], ...first.command);
      const second = client(DB);
      engine.cli('exec', '--detach', id, ...second.command);
      await answered(second.told);
      await eventually(() => /^end 7 /.test(first.told()), { what: 'the refusal' });
      engine.remove(id);
    });

    it('is attested anew when it is restarted, and loses its streams when it is stopped', async () => {
      const { command, told } = client(WEB);
      const id = run([], ...command);
      await answered(told);
      const [before] = await pids();
      engine.cli('restart', '--time=0', id);
      const [now] = await eventually(
        async () => {
          const found = await pids();
          return !found.includes(before ?? 0) && found.length === 1 && found;
        },
        { what: 'the new process' },
      );
      await eventually(() => told().split('answer').length === 3, { what: 'its certificate' });
      assert.equal(now, engine.pidOf(id));
      const metrics = await app.get('/metrics');
      assert.match(metrics, /^credence_attestation_seconds_count\{attestor="docker"\} 2$/m);
      engine.cli('stop', '--time=0', id);
      const gone = async () => (await pids()).length === 0;
      await eventually(gone, { what: 'the end of its streams', timeoutMs: 1000 });
      engine.remove(id);
    });

    it('keeps what it has without its engine, while one that is new waits for it', async () => {
      const [first, second, stranger] = [client(WEB), client(WEB), client(HOST)];
      const both = `"\${@:2:$1}" & shift "$1"; shift; exec "$@"`;
      const known = run(
        [],
        ...['bash', '-c', both, 'bash', String(first.command.length), ...first.command],
        ...once('go', second.command),
      );
      const unknown = run([], ...once('go', stranger.command));
      await answered(first.told);
      await engine.kill();
      writeFileSync(join(held, 'go'), '');
      await answered(second.told);
      await isRefused(stranger.told);
      assert.equal(first.told(), 'answer\n');
      await engine.start();
      await eventually(() => stranger.told().endsWith('answer\n'), { what: 'the recovery' });
      assert.equal(first.told(), 'answer\n');
      engine.remove(known, unknown);
      rmSync(join(held, 'go'));
    });

    it('is nobody where its engine does not know it', async () => {
      using container = startContainer({ cgroupsPath: pathOf(VICTIM) });
      const { selectors, refusal } = await explain(container.pid);
      assert.match(refusal ?? '', /it knows no such container/);
      assert.deepEqual(selectors, []);
    });

    it('is nobody where nobody told of its parent, and itself once somebody did', async () => {
      const parent = '/credence.shop';
      const { command, told } = client(WEB, HOST);
      const id = run([`--cgroup-parent=${parent}`], ...command);
      await isRefused(told);
      assert.match((await explain(engine.pidOf(id))).refusal ?? '', /where none are expected/);
      await app[Symbol.asyncDispose]();
      app = await startAppWith({ cgroup_parents: [parent] });
      const { selectors } = await explain(engine.pidOf(id));
      assert.ok(selectors.includes('docker:label:app:web'), selectors.join());
      engine.remove(id);
      removeParents([parent]);
    });

    it('is not what it calls a cgroup below its own', async () => {
      const { command, told } = client(WEB);
      // Of the hierarchy that is mounted there its own cgroup is one that it may write to.
      const move = `own=$(sed -En 's/^[0-9]+:(freezer)?:(.+)/\\2/p' /proc/self/cgroup | head -1)
        mkdir -p "/cgroups$own$0" && echo 0 >"/cgroups$own$0/cgroup.procs" && exec "$@"`;
      const options = [`--volume=${ANY}:/cgroups`, '--cgroupns=host', '--label=app=own'];
      const id = run(options, 'sh', '-c', move, pathOf(VICTIM), ...command);
      await eventually(() => told().startsWith('end 7'), { what: 'the refusal' });
      const pid = engine.pidOf(id);
      assert.ok(cgroupOf(pid).includes(`${pathOf(id)}${pathOf(VICTIM)}\n`), cgroupOf(pid));
      assert.ok((await explain(pid)).selectors.includes('docker:label:app:own'));
      engine.remove(id);
      removeParents([pathOf(id)]);
    });

    it('is no pod where its parent is called like one', async () => {
      const parent = `/kubepods/burstable/pod${POD}`;
      const { command, told } = client(WEB, HOST);
      const id = run([`--cgroup-parent=${parent}`], ...command);
      await isRefused(told);
      engine.remove(id);
      removeParents([parent]);
    });
  });
}
