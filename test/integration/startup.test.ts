import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { runCredence, type Ended } from '../support/credence-command.ts';
import { createDaemon, entryForMe, type Daemon } from '../support/daemon.ts';

const ME = 'spiffe://example.org/me';
const CONFIG = `trust_domain: example.org
socket_path: api.sock
admin_socket_path: private/admin.sock
data_dir: data
policy: {paths: [policy.yaml]}
telemetry: {metrics_address: '', log_level: error}
`;
const POLICY = `entries:
  - spiffe_id: spiffe://example.org/me
    selectors: ['unix:uid:1000']
`;

/** A folder with a good configuration, to be spoilt. */
function goodFolder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir().length <= 60 ? tmpdir() : '/tmp', 'credence-start-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  writeFileSync(join(dir, 'credence.yaml'), CONFIG);
  writeFileSync(join(dir, 'policy.yaml'), POLICY);
  return dir;
}

function start(dir: string): Promise<Ended> {
  return runCredence(['run', '--config', join(dir, 'credence.yaml')]);
}

/** One line that matches, perhaps a hint, and the exit code; no socket and no half-written file. */
function assertRefused(dir: string, ended: Ended, code: number, line: RegExp): void {
  assert.equal(ended.code, code, ended.err);
  assert.equal(ended.out, '');
  assert.match(ended.err, /^credence: [^\n]+\n(?:hint: [^\n]+\n)?$/);
  assert.match(ended.err, line);
  const left = readdirSync(dir, { recursive: true }).map((name) => join(dir, String(name)));
  assert.deepEqual(
    left.filter((path) => lstatSync(path).isSocket() || /~$|\.tmp-/.test(path)),
    [],
  );
}

/** Runs a daemon in the folder once, so that it has keys and a journal. */
async function runOnce(dir: string): Promise<void> {
  {
    await using daemon = await createDaemon({ dir, entries: [entryForMe(ME)] });
    await daemon.start();
    await daemon.stop();
  }
  writeFileSync(join(dir, 'credence.yaml'), CONFIG);
}

describe('a daemon that cannot start', { concurrency: true }, () => {
  const inText: readonly (readonly [what: string, file: string, text: string, line: RegExp])[] = [
    ['broken YAML', 'credence.yaml', 'trust_domain: [\n', /credence\.yaml:\d+:\d+: /],
    [
      'an unknown key',
      'credence.yaml',
      `${CONFIG}data_dri: x\n`,
      /credence\.yaml:7:1: data_dri: unknown setting, did you mean data_dir\?/,
    ],
    [
      'a trust domain with capitals',
      'credence.yaml',
      'trust_domain: Example.org\n',
      /credence\.yaml:1:15: trust_domain: expected .*, found "Example\.org"/,
    ],
    [
      'a socket path that is too long',
      'credence.yaml',
      `${CONFIG}extra_socket_paths: [${'x'.repeat(107)}]\n`,
      /extra_socket_paths: .* bytes, a socket path has at most 107/,
    ],
    ['broken YAML in the policy', 'policy.yaml', 'entries: [\n', /policy\.yaml:\d+:\d+: /],
    [
      'an entry of a foreign trust domain',
      'policy.yaml',
      POLICY.replace('example.org', 'other.example'),
      /policy\.yaml:2:16: entries\[0\]\.spiffe_id: .*other\.example/,
    ],
    [
      'an entry without selectors',
      'policy.yaml',
      'entries:\n  - spiffe_id: spiffe://example.org/me\n',
      /policy\.yaml:2:5: entries\[0\]\.selectors: expected a list of at least one selector/,
    ],
  ];
  for (const [what, file, text, line] of inText) {
    it(`names file, line and key of ${what} and makes nothing`, async (t) => {
      const dir = goodFolder(t);
      writeFileSync(join(dir, file), text);
      assertRefused(dir, await start(dir), 64, line);
      const made = readdirSync(dir).filter((name) => name !== 'data');
      assert.deepEqual(made, ['credence.yaml', 'policy.yaml']);
    });
  }

  it('names a policy that is not there', async (t) => {
    const dir = goodFolder(t);
    rmSync(join(dir, 'policy.yaml'));
    assertRefused(
      dir,
      await start(dir),
      64,
      /cannot read the policy .*policy\.yaml: .*\nhint: create it, or correct policy\.paths of /,
    );
  });

  it('names a configuration that is not there', async (t) => {
    const dir = goodFolder(t);
    rmSync(join(dir, 'credence.yaml'));
    assertRefused(
      dir,
      await start(dir),
      64,
      /cannot read .*credence\.yaml: there is no such file\nhint: --config FILE/,
    );
  });

  const inData: readonly (readonly [
    what: string,
    spoil: (data: string, key: string) => void,
    line: RegExp,
  ])[] = [
    ['a corrupt key', (_, key) => writeFileSync(key, 'no key'), /cannot use the CA key .*\.pem: /],
    ['a key cut short', (_, key) => writeFileSync(key, ''), /cannot use the CA key .*\.pem: /],
    ['a missing key', (_, key) => rmSync(key), /cannot use the CA key .*\.pem: it is missing/],
    ['a key that others may read', (_, key) => chmodSync(key, 0o644), /has mode 0644, others may/],
    [
      'a key that is a folder',
      (_, key) => {
        rmSync(key);
        mkdirSync(key, 0o700);
      },
      /cannot read .*\.pem: it is not a regular file/,
    ],
    [
      'a corrupt journal',
      (data) => writeFileSync(join(data, 'journal.json'), '{"version":'),
      /journal\.json/,
    ],
    [
      'a journal of nothing',
      (data) => writeFileSync(join(data, 'journal.json'), ''),
      /journal\.json/,
    ],
    [
      'a missing journal',
      (data) => rmSync(join(data, 'journal.json')),
      /journal\.json is missing, but there are \d+ CA keys beside it/,
    ],
    [
      'a data folder that others may enter',
      (data) => chmodSync(data, 0o755),
      /data has mode 0755, others may reach it/,
    ],
  ];
  for (const [what, spoil, line] of inData) {
    it(`says what is wrong with ${what} and changes nothing there`, async (t) => {
      const dir = goodFolder(t);
      await runOnce(dir);
      const keys = join(dir, 'data/keys');
      const [key] = readdirSync(keys);
      assert.ok(key);
      spoil(join(dir, 'data'), join(keys, key));
      const before = snapshot(join(dir, 'data'));
      assertRefused(dir, await start(dir), 1, line);
      assert.deepEqual(snapshot(join(dir, 'data')), before);
    });
  }

  it('refuses a data folder that is a file', async (t) => {
    const dir = goodFolder(t);
    writeFileSync(join(dir, 'data'), '');
    assertRefused(dir, await start(dir), 1, /data\/lock: |cannot create .*data: /);
  });

  for (const [socket, folder] of [
    ['public', 'open/api.sock'],
    ['admin', 'open/admin.sock'],
  ] as const) {
    it(`refuses a folder for the ${socket} socket that others may write`, async (t) => {
      const dir = goodFolder(t);
      mkdirSync(join(dir, 'open'));
      chmodSync(join(dir, 'open'), 0o777);
      const key = socket === 'public' ? 'socket_path' : 'admin_socket_path';
      writeFileSync(
        join(dir, 'credence.yaml'),
        CONFIG.replace(new RegExp(`^${key}: .*$`, 'm'), `${key}: ${folder}`),
      );
      const line = /folder .*\/open of the socket may be written by everybody \(mode 0777\)/;
      assertRefused(dir, await start(dir), 1, line);
      const { code, out } = await runCredence(['check', '--config', join(dir, 'credence.yaml')]);
      assert.equal(code, 0);
      assert.match(out, /^warning: folder .*\/open of the socket may be written by everybody/m);
    });
  }

  it('leaves alone what stands in the place of its socket and is none', async (t) => {
    const dir = goodFolder(t);
    writeFileSync(join(dir, 'api.sock'), 'precious');
    assertRefused(dir, await start(dir), 1, /api\.sock exists and is not a socket/);
    assert.equal(readFileSync(join(dir, 'api.sock'), 'utf8'), 'precious');
  });

  it('names the metrics address that is taken', async (t) => {
    const dir = goodFolder(t);
    const squatter = createServer().listen(0, '127.0.0.1');
    await once(squatter, 'listening');
    t.after(() => squatter.close());
    const { port } = squatter.address() as AddressInfo;
    writeFileSync(
      join(dir, 'credence.yaml'),
      CONFIG.replace("metrics_address: ''", `metrics_address: 127.0.0.1:${port}`),
    );
    const line = new RegExp(
      `cannot serve metrics on 127\\.0\\.0\\.1:${port}: .*EADDRINUSE.*\nhint: telemetry\\.metrics_address, ` +
        'or CREDENCE_TELEMETRY_METRICS_ADDRESS, names another address',
    );
    assertRefused(dir, await start(dir), 1, line);
  });
});

describe('a second daemon', { concurrency: true }, () => {
  /** A running daemon, and the folder of another one whose settings are given. */
  async function pair(t: TestContext, settings: (first: Daemon) => string) {
    const firstDir = goodFolder(t);
    const entries = [entryForMe(ME)];
    const first = await createDaemon({ dir: firstDir, entries });
    t.after(() => first[Symbol.asyncDispose]());
    await first.start();
    const dir = goodFolder(t);
    writeFileSync(join(dir, 'credence.yaml'), `${settings(first)}\n`);
    return { first, dir };
  }

  it('is refused the socket of one that runs, which goes on serving', async (t) => {
    const { first, dir } = await pair(t, ({ socketPath }) =>
      CONFIG.replace('api.sock', socketPath),
    );
    const { ino } = statSync(first.socketPath);
    const line =
      /another credence is running: something answers on .*api\.sock\nhint: credence status --config .* shows it; Ctrl-C/;
    assertRefused(dir, await start(dir), 1, line);
    assert.equal(statSync(first.socketPath).ino, ino);
    assert.equal((await first.fetchX509()).length, 1);
  });

  it('is refused the data folder of one that runs', async (t) => {
    const { first, dir } = await pair(t, ({ socketPath }) =>
      CONFIG.replace('data_dir: data', `data_dir: ${join(socketPath, '../data')}`),
    );
    const line =
      /another credence is running with .*data\nhint: credence status --config .* stops it/;
    assertRefused(dir, await start(dir), 1, line);
    assert.equal((await first.fetchX509()).length, 1);
  });

  it('takes the place of one that was killed, sockets and data', async (t) => {
    const { first } = await pair(t, () => CONFIG);
    const before = await first.fetchX509();
    await first.stop('SIGKILL');
    assert.ok(existsSync(first.socketPath), 'a killed daemon cannot take its socket away');
    await first.start();
    const after = await first.fetchX509();
    assert.equal(statSync(first.socketPath).mode & 0o777, 0o777);
    assert.equal(after[0]?.bundle, before[0]?.bundle);
  });
});

/** Every file below a folder with its mode and content. */
function snapshot(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true })
    .map(String)
    .sort()
    .map((name) => {
      const stats = statSync(join(folder, name));
      const mode = (stats.mode & 0o777).toString(8);
      const content = stats.isFile() ? readFileSync(join(folder, name), 'latin1') : '';
      return `${name} ${mode} ${content}`;
    });
}
