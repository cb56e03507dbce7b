import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { runCredence, type Ended } from '../support/credence-command.ts';
import { createDaemon, entryForMe, type Daemon } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { openSdsStream } from '../support/sds-stream.ts';

const WEB = 'spiffe://example.org/web';
const API = 'spiffe://example.org/api';

interface FetchedJson {
  readonly identities: readonly {
    readonly spiffe_id: string;
    readonly serial: string;
    readonly not_after: string;
    readonly seconds_left: number;
    readonly chain_length: number;
    readonly key_type: string;
  }[];
  readonly bundles: readonly { readonly trust_domain: string; readonly roots_pem: string }[];
}

describe('commands that ask a running daemon', () => {
  const dir = mkdtempSync(join(tmpdir().length <= 60 ? tmpdir() : '/tmp', 'credence-cli-'));
  let daemon: Daemon;
  before(async () => {
    daemon = await createDaemon({ dir, entries: [entryForMe(WEB), entryForMe(API)] });
    await daemon.start();
  });
  after(async () => {
    await daemon[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });

  const run = (...args: string[]): Promise<Ended> =>
    runCredence([...args, '--config', join(dir, 'credence.yaml')]);
  /** Its stdout, when it is all there is. */
  async function result(...args: string[]): Promise<string> {
    const { code, out, err } = await run(...args);
    assert.deepEqual([code, err], [0, '']);
    return out;
  }

  it('fetch x509 shows every identity, its time left and the bundle', async () => {
    const lines = (await result('fetch', 'x509')).split('\n');
    assert.equal(lines[0], `SPIFFE ID    ${API}`);
    assert.match(lines[1] ?? '', /^serial {7}[0-9a-f]{24,40}$/);
    assert.match(lines[2] ?? '', /^valid until {2}2\S+Z, (?:1h|59m \d+s) left$/);
    assert.equal(lines[3], 'key, chain   prime256v1, 2 certificate(s)');
    assert.deepEqual(lines.slice(4, 6), ['', `SPIFFE ID    ${WEB}`]);
    assert.deepEqual(lines.slice(9), ['', 'bundle       example.org, 1 root(s)', '']);
  });

  it('fetch --json is one document', async () => {
    const { identities, bundles } = JSON.parse(
      await result('fetch', 'x509', '--json'),
    ) as FetchedJson;
    assert.deepEqual(
      identities.map(({ spiffe_id, chain_length, key_type }) => [
        spiffe_id,
        chain_length,
        key_type,
      ]),
      [
        [API, 2, 'prime256v1'],
        [WEB, 2, 'prime256v1'],
      ],
    );
    for (const { seconds_left } of identities) assert.ok(seconds_left > 3500);
    const bundlesAlone = JSON.parse(await result('fetch', 'bundles', '--json')) as FetchedJson;
    assert.deepEqual(bundlesAlone, { bundles });
    assert.equal(bundles[0]?.trust_domain, 'example.org');
  });

  it('fetch finds the socket by the environment that SPIFFE defines', async () => {
    const endpoint = { SPIFFE_ENDPOINT_SOCKET: `unix://${daemon.socketPath}` };
    assert.equal((await runCredence(['fetch', 'x509'], { cwd: dir, env: endpoint })).code, 0);
  });

  it('fetch --write gives files of which nobody else may read the keys', async () => {
    const folder = join(dir, 'svids');
    const { code, out, err } = await run('fetch', 'x509', '--write', folder);
    assert.equal(code, 0, err);
    assert.match(out, /^SPIFFE ID/);
    assert.deepEqual(readdirSync(folder).sort(), [
      ...['bundle.0.pem', 'bundle.1.pem', 'svid.0.key', 'svid.0.pem', 'svid.1.key', 'svid.1.pem'],
    ]);
    for (const [n, id] of [API, WEB].entries()) {
      assert.equal(statSync(join(folder, `svid.${n}.key`)).mode & 0o777, 0o600);
      assert.equal(statSync(join(folder, `svid.${n}.pem`)).mode & 0o777, 0o644);
      const [leaf, issuer] = certificates(readFileSync(join(folder, `svid.${n}.pem`), 'utf8'));
      const [root] = certificates(readFileSync(join(folder, `bundle.${n}.pem`), 'utf8'));
      const key = createPrivateKey(readFileSync(join(folder, `svid.${n}.key`)));
      assert.ok(leaf && issuer && root);
      assert.equal(leaf.subjectAltName, `URI:${id}`);
      assert.ok(leaf.checkPrivateKey(key));
      assert.ok(leaf.verify(issuer.publicKey));
      assert.ok(issuer.verify(root.publicKey));
      assert.ok(root.verify(root.publicKey));
    }
  });

  it('fetch --write closes a key file that stood open, and leaves nothing half written', async () => {
    const folder = join(dir, 'again');
    mkdirSync(folder);
    writeFileSync(join(folder, 'svid.0.key'), 'old');
    chmodSync(join(folder, 'svid.0.key'), 0o644);
    assert.equal((await run('fetch', 'x509', '--write', folder)).code, 0);
    assert.equal(statSync(join(folder, 'svid.0.key')).mode & 0o777, 0o600);
    assert.match(readFileSync(join(folder, 'svid.0.key'), 'latin1'), /^-----BEGIN PRIVATE KEY/);
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.includes('tmp')),
      [],
    );
  });

  it('fetch --write leaves no identity of an earlier call that is not granted any more', async () => {
    const folder = join(dir, 'fewer');
    mkdirSync(folder);
    const kept = ['svid.pem', 'svid.2.crt', 'my.svid.7.key', 'bundle.pem'];
    const stale = ['svid.2.key', 'svid.2.pem', 'svid.10.key', 'bundle.2.pem', 'bundle.10.pem'];
    for (const name of [...kept, ...stale]) writeFileSync(join(folder, name), 'old');
    const { code, err } = await run('fetch', 'x509', '--write', folder);
    assert.equal(code, 0, err);
    for (const name of stale) assert.ok(err.includes(`removed ${join(folder, name)}\n`), name);
    const written = [0, 1].flatMap((n) => [`svid.${n}.key`, `svid.${n}.pem`, `bundle.${n}.pem`]);
    assert.deepEqual(readdirSync(folder).sort(), [...kept, ...written].sort());
    // Bundles alone are of one trust domain here, and say nothing of SVIDs.
    assert.equal((await run('fetch', 'bundles', '--write', folder)).code, 0);
    const bundles = written.filter((name) => name !== 'bundle.1.pem');
    assert.deepEqual(readdirSync(folder).sort(), [...kept, ...bundles].sort());
  });

  it('fetch --write says why it cannot write', async () => {
    writeFileSync(join(dir, 'file'), '');
    for (const path of ['file', 'file/folder']) {
      const { code, err } = await run('fetch', 'x509', '--write', join(dir, path));
      assert.equal(code, 64);
      assert.match(err, /^credence: --write .*: .*is a file, it must be a folder\nhint: svid\.N/);
    }
  });

  it('shows one trust bundle, whichever way it is asked', async () => {
    const written = join(dir, 'bundles');
    assert.equal((await run('fetch', 'bundles', '--write', written)).code, 0);
    const pem = await result('bundle', 'show');
    const [root, ...more] = certificates(pem);
    assert.ok(root);
    assert.deepEqual(more, []);
    assert.equal(pem, readFileSync(join(written, 'bundle.0.pem'), 'latin1'));
    assert.equal(pem, await result('fetch', 'bundles'));
    assert.equal(pem, await result('bundle', 'show', '--trust-domain', 'example.org'));

    const text = await result('bundle', 'show', '--format', 'spiffe');
    const document = JSON.parse(text) as {
      keys: { use: string; kty: string; crv: string; x: string; y: string; x5c: string[] }[];
      spiffe_sequence: number;
    };
    const { x, y } = root.publicKey.export({ format: 'jwk' });
    assert.deepEqual(document.keys, [
      { use: 'x509-svid', kty: 'EC', crv: 'P-256', x, y, x5c: [root.raw.toString('base64')] },
    ]);
    assert.ok(Number.isSafeInteger(document.spiffe_sequence));
  });

  it('has no bundle of a trust domain it does not know', async () => {
    const { code, out, err } = await run('bundle', 'show', '--trust-domain', 'partner.example');
    assert.deepEqual([code, out], [1, '']);
    assert.equal(err, 'credence: no bundle of partner.example is known\n');
  });

  it('status shows who is connected and what it accepted, for people and as JSON', async () => {
    using stream = openSdsStream(daemon.socketPath, [WEB]);
    await eventually(() => stream.responses.length === 1, { what: 'the first secret' });
    const view = await eventually(
      async () => {
        const document = JSON.parse(await result('status', '--json')) as {
          trust_domain: string;
          proxies: {
            pid: number;
            streams: { secrets: { name: string; sent: string; acknowledged: string }[] }[];
          }[];
        };
        const proxy = document.proxies.find(({ pid }) => pid === process.pid);
        const secret = proxy?.streams[0]?.secrets[0];
        return secret && secret.sent === secret.acknowledged ? { document, secret } : undefined;
      },
      { what: 'the acknowledgement' },
    );
    assert.equal(view.document.trust_domain, 'example.org');
    assert.equal(view.secret.name, WEB);
    assert.equal(view.secret.sent, stream.responses[0]?.version_info);
    const text = await result('status');
    assert.match(
      text,
      /^credence \S+ on .+, trust domain example\.org, ready\npolicy: 2 entries, revision [0-9a-f]{16}, loaded .+ ago\n/,
    );
    assert.match(text, /^SVIDs: \d+ held, 0 overdue for renewal, the first expires in (?:1h|59m)/m);
    assert.match(text, new RegExp(`^pid ${process.pid} uid \\d+, node test, 1 sotw$`, 'm'));
    assert.match(text, /^ {2}spiffe:\/\/example\.org\/web: \S+ accepted, serial \S+, expires in /m);
    assert.doesNotMatch(JSON.stringify(view), /PRIVATE/);
  });

  it('says which kind of socket it was given in the place of the other', async () => {
    const admin = join(dir, 'admin.sock');
    const fetched = await runCredence(['fetch', 'x509', '--socket', admin]);
    assert.equal(fetched.code, 69);
    assert.match(fetched.err, /: this is an admin socket, not a public socket\nhint: /);
    const asked = await runCredence(['status', '--admin-socket', daemon.socketPath]);
    assert.equal(asked.code, 69);
    assert.match(asked.err, /: this is a public socket, not an admin socket\nhint: /);
  });

  it('status shows a refused change of the policy, and the entries that stay in force', async () => {
    await daemon.setPolicy([{ spiffe_id: 'spiffe://other.example/x', selectors: ['unix:uid:1'] }]);
    const text = await eventually(
      async () => {
        const shown = await result('status');
        return shown.includes('REFUSED') ? shown : undefined;
      },
      { what: 'the refusal' },
    );
    assert.match(
      text,
      /^policy: 2 entries, .*\n {2}the last change was REFUSED: .*policy\.yaml:2:\d+: .*other\.example/m,
    );
    await daemon.setPolicy([entryForMe(WEB), entryForMe(API)]);
  });

  it('health answers in one line', async () => {
    assert.equal(await result('health'), 'ready\n');
    assert.equal(await result('health', '--ready'), 'ready\n');
    assert.equal(await result('health', '--live'), 'live\n');
    assert.equal(await result('health', '--wait', '10s'), 'ready\n');
  });

  it('tells a process without an identity what is missing, and gives it the bundle', async () => {
    await daemon.setPolicy([{ spiffe_id: WEB, selectors: ['unix:uid:4242424'] }]);
    const denied = await eventually(
      async () => {
        const ended = await run('fetch', 'x509');
        return ended.code === 1 ? ended : undefined;
      },
      { what: 'the new policy' },
    );
    assert.equal(
      denied.err,
      'credence: this process was attested but holds no identity\n' +
        `hint: add a policy entry whose selectors match it, such as unix:uid:${process.getuid?.()}; ` +
        'credence explain --pid N shows the operator why a process gets none\n',
    );
    assert.match(await result('fetch', 'bundles'), /^-----BEGIN CERTIFICATE-----/);
    await daemon.setPolicy([entryForMe(WEB), entryForMe(API)]);
  });
});

function certificates(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

describe('credence fetch bundles of a daemon that prefers the plain form', () => {
  it('brings the roots all the same, with the trust domain they are of', async () => {
    await using daemon = await createDaemon({
      entries: [entryForMe(WEB)],
      settings: { sds: { spiffe_cert_validation: false } },
    });
    await daemon.start();
    const args = ['fetch', 'bundles', '--json', '--socket', daemon.socketPath];
    const { bundles } = JSON.parse((await runCredence(args)).out) as FetchedJson;
    assert.deepEqual(
      bundles.map(({ trust_domain }) => trust_domain),
      ['example.org'],
    );
    assert.match(bundles[0]?.roots_pem ?? '', /^-----BEGIN CERTIFICATE-----/);
  });
});
