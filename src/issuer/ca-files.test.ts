import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { systemRandom } from '../core/random.ts';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { makeCaFiles } from './ca-files.ts';

const NOW_MS = Date.UTC(2026, 5, 1);
const YEAR_MS = 365 * 86_400_000;
const make = () =>
  makeCaFiles(
    {
      trustDomain: parseTrustDomain('example.org'),
      caKeyType: 'ec-p256',
      rootTtlMs: YEAR_MS,
    },
    { clock: new FakeClock(NOW_MS), random: systemRandom },
  );

describe('makeCaFiles()', () => {
  it('makes an issuing CA that OpenSSL traces to the root', async (t) => {
    const { files } = await make();
    const folder = mkdtempSync(join(tmpdir(), 'credence-ca-'));
    t.after(() => rmSync(folder, { recursive: true }));
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    const args = ['-attime', `${NOW_MS / 1000}`, '-x509_strict', '-CAfile', 'ca.crt', 'tls.crt'];
    const out = execFileSync('openssl', ['verify', ...args], { cwd: folder, encoding: 'utf8' });
    assert.equal(out, 'tls.crt: OK\n');
    const text = execFileSync('openssl', ['x509', '-in', 'tls.crt', '-noout', '-text'], {
      cwd: folder,
      encoding: 'utf8',
    });
    assert.match(text, /CA:TRUE, pathlen:0/);
    assert.match(text, /URI:spiffe:\/\/example\.org$/m);
  });

  it('hands out the key of the issuing CA, and that alone', async () => {
    const { files } = await make();
    const key = createPublicKey(createPrivateKey(files['tls.key']));
    assert.ok(new X509Certificate(files['tls.crt']).publicKey.equals(key));
    assert.ok(!new X509Certificate(files['ca.crt']).publicKey.equals(key));
    assert.deepEqual(
      Object.values(files)
        .join('')
        .match(/PRIVATE KEY/g)?.length,
      2,
    );
  });

  it('lets both end together, as nobody can follow up one of them', async () => {
    const { root, issuing } = await make();
    assert.equal(root.validity.notAfterMs, NOW_MS + YEAR_MS);
    assert.equal(issuing.validity.notAfterMs, NOW_MS + YEAR_MS);
  });

  it('makes another one each time', async () => {
    const [one, other] = await Promise.all([make(), make()]);
    assert.notEqual(one.root.serial, other.root.serial);
    assert.notDeepEqual(one.root.spki, other.root.spki);
  });
});
