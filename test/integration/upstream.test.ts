import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { startApp, type TestApp } from '../support/app.ts';
import { eventually } from '../support/eventually.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { systemClock } from '../../src/core/clock.ts';
import { connectProxy } from '../support/sds-proxy.ts';
import { openSdsStream } from '../support/sds-stream.ts';
import { credence } from '../support/transcript.ts';
import {
  foreignCas,
  mountSecret,
  type ForeignCa,
  type MountedSecret,
} from '../support/upstream.ts';

interface Upstream {
  readonly upstream: { readonly last_error: string | null; readonly cert_file: string } | null;
  readonly authorities: readonly { readonly slot: string; readonly serial: string }[];
}

describe('an issuing CA from files', () => {
  const { folder, make } = foreignCas();
  const root = make({ name: 'root' });
  const first = make({ name: 'first', issuer: root });
  const newRoot = make({ name: 'new root' });
  const second = make({ name: 'second', issuer: newRoot });
  const FIRST = { cert: first.cert, key: first.key, bundle: root.cert };
  const SECOND = { cert: second.cert, key: second.key, bundle: newRoot.cert };
  let count = 0;
  const mount = () => mountSecret(join(folder, `secret-${count++}`), FIRST);

  const serialOf = ({ cert }: ForeignCa) => new X509Certificate(cert).serialNumber.toLowerCase();

  const start = (secret: MountedSecret) =>
    startApp({ settings: { issuer: { upstream: { ...secret.settings, new_root_delay: '1s' } } } });
  const status = async (app: TestApp) => JSON.parse(await app.get('/status')) as Upstream;
  const active = async (app: TestApp) =>
    (await status(app)).authorities.find(({ slot }) => slot === 'active')?.serial;

  it('is followed: streams get the new root, then the new CA signs', async () => {
    const secret = mount();
    await using app = await start(secret);
    using stream = openSdsStream(app.socketPath, ['ROOTCA']);
    await eventually(() => stream.responses.length === 1, { what: 'the first bundle' });
    const before = await active(app);
    secret.replace(SECOND);
    await eventually(() => stream.responses.length === 2, { what: 'the bundle with both roots' });
    assert.equal(await active(app), before);
    await eventually(async () => (await active(app)) !== before, { what: 'the new CA' });
    assert.match(await app.get('/metrics'), /upstream_reloads_total\{result="applied"\} 1/);
    assert.equal(stream.ended(), undefined);
  });

  it('is what some metrics are about, which are not there without one', async () => {
    await using ours = await startApp({});
    assert.doesNotMatch(await ours.get('/metrics'), /credence_issuer_upstream_/);
    await using app = await start(mount());
    assert.match(await app.get('/metrics'), /upstream_reloads_total\{result="refused"\} 0/);
  });

  it('that is no good is refused in metrics and status, and what runs goes on', async () => {
    const secret = mount();
    await using app = await start(secret);
    const before = await active(app);
    secret.replace({ ...SECOND, bundle: root.cert });
    const waiting = { what: 'the refusal' };
    await eventually(async () => (await status(app)).upstream?.last_error != null, waiting);
    const { upstream } = await status(app);
    assert.match(upstream?.last_error ?? '', /tls\.crt: the chain ends at CN=second, expected/);
    assert.equal(await active(app), before);
    assert.match(await app.get('/metrics'), /upstream_reloads_total\{result="refused"\} [1-9]/);
    assert.equal(await app.get('/ready'), 'ready\n');
    using stream = openSdsStream(app.socketPath, ['default']);
    await eventually(() => stream.responses.length === 1, { what: 'an SVID all the same' });

    secret.replace(FIRST);
    const good = { what: 'the end of the fault' };
    await eventually(async () => (await status(app)).upstream?.last_error === null, good);
  });

  /** The issuer of the SVID and the roots that a proxy is handed. */
  const handed = async (app: TestApp) => {
    using proxy = connectProxy(app.socketPath);
    const { secrets } = await proxy.fetch({ resource_names: ['default', 'ROOTCA'] });
    const subjects: Record<string, string[]> = {};
    for (const secret of secrets) {
      if (secret.kind === 'certificate') {
        subjects['signer'] = [new X509Certificate(secret.chain).issuer];
      } else if (secret.kind === 'spiffe bundle') {
        const blocks = (secret.domains['example.org'] ?? '').split(/(?<=-----END .*\n)/);
        subjects['roots'] = blocks.map((block) => new X509Certificate(block).subject);
      }
    }
    return subjects;
  };

  it('with a data_dir of its own distrusts the root before and signs everything anew', async () => {
    const secret = mount();
    const run = (dataDir: string) => {
      const upstream = { ...secret.settings, new_root_delay: '1s' };
      const issuer = { key_manager: { type: 'disk' }, upstream };
      return startApp({ settings: { data_dir: join(folder, dataDir), issuer } });
    };
    {
      await using app = await run('data-1');
      assert.deepEqual(await handed(app), { signer: ['CN=first'], roots: ['CN=root'] });
      secret.replace(SECOND);
      const what = 'the CA below the new root';
      await eventually(async () => (await active(app)) === serialOf(second), { what });
      // One that is held is not signed anew for that.
      assert.deepEqual(await handed(app), {
        ...{ signer: ['CN=first'], roots: ['CN=new root', 'CN=root'] },
      });
    }
    {
      await using app = await run('data-1');
      const { roots } = await handed(app);
      assert.deepEqual(roots, ['CN=new root', 'CN=root']);
    }
    await using app = await run('data-2');
    assert.deepEqual(await handed(app), { signer: ['CN=second'], roots: ['CN=new root'] });
  });

  it('below a root that is new at a start makes the daemon wait before it is ready', async () => {
    const clock = new FakeClock(systemClock.now());
    const secret = mount();
    const issuer = { key_manager: { type: 'disk' }, upstream: secret.settings };
    const settings = { data_dir: join(folder, 'data-3'), issuer };
    await (await startApp({ settings, deps: { clock } })).close();
    secret.replace(SECOND);
    await using app = await startApp({ settings, deps: { clock } });
    const until = new Date(Math.floor(clock.now() / 1000) * 1000 + 120_000).toISOString();
    const reason = `the root of the issuing CA is new, it signs from ${until.slice(0, 16)}`;
    assert.ok((await app.get('/ready')).startsWith(`not ready: ${reason}`));
    assert.equal(app.log.count('info', 'credence is ready'), 0);
    const [waits] = app.log.lines.filter(({ message }) => message.includes('is not ready yet'));
    assert.ok(waits?.fields.reason?.startsWith(reason), waits?.fields.reason);
    using stream = openSdsStream(app.socketPath, ['ROOTCA']);
    await eventually(() => stream.responses.length === 1, { what: 'both roots, meanwhile' });
    await clock.advance(121_000);
    assert.equal(await app.get('/ready'), 'ready\n');
    assert.equal(app.log.count('info', 'credence is ready'), 1);
    assert.deepEqual(await handed(app), {
      ...{ signer: ['CN=second'], roots: ['CN=new root', 'CN=root'] },
    });
  });

  it('that has expired makes the daemon not ready', async () => {
    const clock = new FakeClock(systemClock.now());
    const secret = mount();
    await using app = await startApp({
      settings: { issuer: { upstream: secret.settings } },
      deps: { clock },
    });
    assert.equal(await app.get('/ready'), 'ready\n');
    await clock.advance(31 * 86_400_000);
    assert.equal(await app.get('/ready'), 'not ready: the issuing CA has expired\n');
  });

  /** Files of a CA, and a configuration for them that can be checked. */
  function checked() {
    const secret = mount();
    const file = join(folder, 'credence.yaml');
    const { cert_file, key_file, bundle_file } = secret.settings;
    writeFileSync(
      file,
      `trust_domain: example.org\nissuer:\n  upstream: {type: disk, cert_file: ${cert_file}, key_file: ${key_file}, bundle_file: ${bundle_file}}\n`,
    );
    const check = () => credence(['check', '--config', file]);
    return { secret, check };
  }

  it('is looked at by credence check', async () => {
    const { secret, check } = checked();
    assert.doesNotMatch((await check()).out, /tls|ca\.crt/);
    secret.replace({ ...FIRST, key: second.key });
    const bad = await check();
    assert.equal(bad.code, 64);
    assert.match(bad.out, /error: cannot use .*tls\.key: it is not the key of CN=first/);
  });

  it('is an error to credence check where credence run refuses its files', async () => {
    const { secret, check } = checked();
    const { key_file } = secret.settings;
    chmodSync(key_file, 0o644);
    const open = await check();
    assert.equal(open.code, 64);
    assert.match(open.out, /^error: .*tls\.key has mode 0644, others may reach the key/m);
    rmSync(key_file);
    const away = await check();
    assert.equal(away.code, 64);
    assert.match(away.out, /^error: cannot read .*tls\.key: ENOENT/m);
  });
});
