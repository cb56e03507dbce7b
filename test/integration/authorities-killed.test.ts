import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { issuerConfig, issuerDeps } from '../support/issuer.ts';
import { openIssuer } from '../../src/issuer/issuer.ts';
import { parseJournal } from '../../src/issuer/journal-text.ts';
import { fingerprint } from '../../src/issuer/ca-state.ts';

const CHILD = new URL('../support/authorities-child.ts', import.meta.url).pathname;

/** One life of a process that rotates as fast as it can, until it is killed at one of its effects. */
async function liveAndDie(dataDir: string, dieAt: number) {
  const child = spawn(process.execPath, ['--import', 'tsx', CHILD, dataDir, String(dieAt)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  assert.equal(code, null, said);
  assert.equal(signal, 'SIGKILL');
  return said
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as { sequence: number; chain: string[]; notAfterMs: number });
}

describe('a process with authorities that is killed with SIGKILL', () => {
  it('at any effect is followed by one that trusts and signs as before', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'credence-killed-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const dataDir = join(folder, 'data');
    let sequence = 0;
    let lives = 0;
    for (const dieAt of [3, 8, 13, 17, 21, 22, 23, 24, 25, 26, 27, 28, 31, 35]) {
      const signed = await liveAndDie(dataDir, dieAt);
      lives++;
      const issuer = await openIssuer(issuerConfig({ dataDir, keyManager: 'disk' }), issuerDeps());
      try {
        const bundle = issuer.bundle();
        for (const one of signed)
          assert.ok(one.sequence >= sequence && one.sequence <= bundle.sequence);
        sequence = bundle.sequence;
        const roots = bundle.x509Authorities.map(({ der }) => new X509Certificate(der));
        for (const { chain } of signed) {
          const [leaf, ca] = chain.map((der) => new X509Certificate(Buffer.from(der, 'base64')));
          assert.ok(leaf && ca && leaf.verify(ca.publicKey));
          assert.ok(
            roots.some((root) => ca.verify(root.publicKey)),
            'its root is trusted',
          );
        }
        const state = parseJournal(readFileSync(join(dataDir, 'journal.json'), 'utf8'), 'journal');
        const named = [...state.roots, ...state.issuing].flatMap(({ key }) => key?.id ?? []);
        assert.deepEqual(
          readdirSync(join(dataDir, 'keys')).sort(),
          named.map((id) => `${id}.pem`).sort(),
        );
        assert.ok(new Set(state.roots.map((root) => fingerprint(root.certificate))).size >= 1);
        await issuer.mint({ id: 'spiffe://example.org/web' as never, dnsNames: [] }, {});
      } finally {
        issuer.close();
      }
    }
    assert.equal(lives, 14);
  });
});
