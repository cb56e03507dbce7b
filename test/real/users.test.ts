import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { startChild, type Child } from '../support/child.ts';
import { runCredence, type Ended } from '../support/credence-command.ts';
import { entryForUid } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { installTo } from '../support/installation.ts';

/** Users that need no account. */
const OPERATOR = 41_001;
const WEB_USER = 41_002;
const DB_USER = 41_003;
const STRANGER = 41_004;

const WEB = 'spiffe://example.org/web';
const DB = 'spiffe://example.org/db';

describe('Credence among the users of a machine', () => {
  const base = mkdtempSync('/tmp/credence-users-');
  let executable: string;
  before(() => {
    assert.equal(process.getuid?.(), 0, 'these tests act as several users, which needs root');
    chmodSync(base, 0o755);
    executable = installTo(join(base, 'opt'));
  });
  after(() => rmSync(base, { recursive: true, force: true }));

  let folders = 0;
  /** A configuration in a folder that belongs to the operator. */
  function folderOf(): { dir: string; run: (uid: number, ...args: string[]) => Promise<Ended> } {
    const dir = join(base, String(folders++));
    mkdirSync(dir, { mode: 0o755 });
    const write = (name: string, value: object) =>
      writeFileSync(join(dir, name), JSON.stringify(value), { mode: 0o644 });
    write('credence.yaml', {
      trust_domain: 'example.org',
      socket_path: 'run/api.sock',
      admin_socket_path: 'run/private/admin.sock',
      data_dir: 'data',
      policy: { paths: ['policy.yaml'] },
      telemetry: { metrics_address: '' },
    });
    write('policy.yaml', { entries: [entryForUid(WEB, WEB_USER), entryForUid(DB, DB_USER)] });
    chownSync(dir, OPERATOR, OPERATOR);
    const config = ['--config', join(dir, 'credence.yaml')];
    return {
      dir,
      run: (uid, ...args) =>
        runCredence([...args, ...config], { uid, executable, env: { HOME: '/' } }),
    };
  }

  async function startAsOperator(t: TestContext, dir: string): Promise<Child> {
    const args = [executable, 'run', '--config', join(dir, 'credence.yaml')];
    const child = await startChild(process.execPath, args, { uid: OPERATOR });
    t.after(() => child.stop('SIGKILL'));
    await eventually(() => /credence is ready/.test(child.log()), {
      what: 'credence is ready',
      hopeless: () => child.ended() && child.log(),
    });
    return child;
  }

  it('serves each user what is theirs, without being root itself', async (t) => {
    const { dir, run } = folderOf();
    const child = await startAsOperator(t, dir);
    for (const [uid, id] of [
      [WEB_USER, WEB],
      [DB_USER, DB],
    ] as const) {
      const { code, out, err } = await run(uid, 'fetch', 'x509', '--json');
      assert.equal(code, 0, err);
      const { identities } = JSON.parse(out) as { identities: { spiffe_id: string }[] };
      assert.deepEqual(
        identities.map(({ spiffe_id }) => spiffe_id),
        [id],
      );
    }
    // Neither a stranger nor the operator nor root has an entry.
    for (const uid of [STRANGER, OPERATOR, 0]) {
      const { code, out, err } = await run(uid, 'fetch', 'x509');
      assert.deepEqual([code, out.includes('SPIFFE ID')], [1, false], `${uid} ${err}`);
      assert.match(err, /holds no identity/);
      // The bundle is for everybody.
      assert.match((await run(uid, 'fetch', 'bundles')).out, /^-----BEGIN CERTIFICATE-----/);
    }
    assert.equal(await child.stop().then(() => child.ended()), 'ended with code 0');
    assert.ok(!existsSync(join(dir, 'run/api.sock')));
  });

  it('opens the admin socket and the keys to nobody but the operator', async (t) => {
    const { dir, run } = folderOf();
    await startAsOperator(t, dir);
    assert.equal((await run(OPERATOR, 'status')).code, 0);
    for (const command of [['status'], ['bundle', 'show']]) {
      const { code, err } = await run(STRANGER, ...command);
      assert.equal(code, 69);
      assert.match(err, /admin\.sock: this user may not open it/);
    }
    assert.equal(statSync(join(dir, 'run/api.sock')).mode & 0o777, 0o777);
    assert.equal(statSync(join(dir, 'run/private/admin.sock')).mode & 0o777, 0o600);
    assert.equal(statSync(join(dir, 'run/private')).mode & 0o777, 0o700);
    for (const name of ['data', ...readdirSync(join(dir, 'data')).map((file) => `data/${file}`)]) {
      const { mode, uid } = statSync(join(dir, name));
      assert.deepEqual([mode & 0o077, uid], [0, OPERATOR], name);
    }
  });

  it('lets no other process look into it, its own user neither, nor root without capabilities', async (t) => {
    const { dir } = folderOf();
    const { pid } = await startAsOperator(t, dir);
    const ids = ['--reuid', String(OPERATOR), '--regid', String(OPERATOR), '--clear-groups'];
    for (const who of [ids, ['--bounding-set=-all', '--inh-caps=-all']]) {
      for (const file of ['environ', 'maps']) {
        const { status } = spawnSync('setpriv', [...who, 'cat', `/proc/${pid}/${file}`]);
        assert.notEqual(status, 0, `${who.join(' ')} ${file}`);
      }
      assert.equal(spawnSync('setpriv', [...who, 'cat', `/proc/${pid}/stat`]).status, 0);
    }
  });

  it('does not use what belongs to another user', async (t) => {
    const { dir, run } = folderOf();
    const child = await startAsOperator(t, dir);
    await child.stop();
    const keys = join(dir, 'data/keys');
    const [key] = readdirSync(keys);
    assert.ok(key);
    for (const [path, owner] of [
      [join(keys, key), STRANGER],
      [join(dir, 'data'), STRANGER],
    ] as const) {
      chownSync(path, owner, owner);
      const asRoot = await run(0, 'run');
      assert.equal(asRoot.code, 1);
      assert.match(asRoot.err, /^credence: [^\n]+ belongs to uid 4100\d, not to uid 0\nhint: /m);
      const asOperator = await run(OPERATOR, 'run');
      assert.equal(asOperator.code, 1, asOperator.err);
      assert.match(asOperator.err, /^credence: /m);
      chownSync(path, OPERATOR, OPERATOR);
    }
    mkdirSync(join(dir, 'run'), { recursive: true });
    chownSync(join(dir, 'run'), STRANGER, STRANGER);
    const { code, err } = await run(OPERATOR, 'run');
    assert.equal(code, 1);
    assert.match(err, /folder .*\/run of the socket belongs to uid 41004/);
  });

  it('says which file it may not read', async () => {
    const { dir, run } = folderOf();
    chmodSync(join(dir, 'policy.yaml'), 0o600);
    const policy = await run(OPERATOR, 'run');
    assert.equal(policy.code, 64);
    assert.match(policy.err, /policy\.yaml: this user may not read it/);
    chmodSync(join(dir, 'credence.yaml'), 0o600);
    const config = await run(OPERATOR, 'run');
    assert.equal(config.code, 64);
    assert.match(config.err, /^credence: cannot read .*credence\.yaml: this user may not read it/);
  });

  it('does not start on a full disk, and starts once there is room', async (t) => {
    const { dir, run } = folderOf();
    const data = join(dir, 'data');
    mkdirSync(data, { mode: 0o700 });
    mount(t, data, `size=64k,mode=700,uid=${OPERATOR},gid=${OPERATOR}`);
    const filler = join(data, 'filler');
    // More than there is room for: what fits is written, the rest fails.
    assert.throws(() => writeFileSync(filler, Buffer.alloc(1 << 20)), { code: 'ENOSPC' });
    const full = await run(OPERATOR, 'run');
    assert.equal(full.code, 1, full.err);
    assert.match(full.err, /^credence: cannot [^\n]*ENOSPC/m);
    assert.deepEqual(
      readdirSync(data, { recursive: true }).filter((name) => String(name).includes('.tmp-')),
      [],
    );
    rmSync(filler);
    await startAsOperator(t, dir);
    assert.equal((await run(WEB_USER, 'fetch', 'x509')).code, 0);
  });
});

describe('docs/credence.service', () => {
  it('is what systemd takes', (t) => {
    const folder = mkdtempSync('/tmp/credence-unit-');
    t.after(() => rmSync(folder, { recursive: true }));
    const unit = join(folder, 'credence.service');
    const text = readFileSync(new URL('../../docs/credence.service', import.meta.url), 'utf8');
    // systemd looks whether the executable is there.
    assert.match(text, /^ExecStart=\/usr\/bin\/node /m);
    writeFileSync(unit, text.replaceAll('/usr/bin/node ', `${process.execPath} `));
    const { status, stderr, error } = spawnSync('systemd-analyze', ['verify', unit], {
      encoding: 'utf8',
    });
    assert.equal(error, undefined, 'systemd-analyze is needed (Debian package systemd)');
    // It has opinions on the units of this machine, too.
    const ours = stderr.split('\n').filter((line) => line.includes('credence'));
    assert.deepEqual([status, ours], [0, []], stderr);
  });
});

/** A file system of a given size, for the time of the test. */
function mount(t: TestContext, path: string, options: string): void {
  const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path]);
  assert.equal(status, 0, stderr.toString());
  t.after(() => spawnSync('umount', ['--lazy', path]));
}
