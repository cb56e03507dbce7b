import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { credence } from '../../test/support/transcript.ts';

const ID = 'ab12'.repeat(10);

/** An admin socket that answers everything alike, and what it was asked. */
async function admin(t: TestContext, code = 200, document: unknown = { authority: ID }) {
  const folder = mkdtempSync(join(tmpdir(), 'credence-ca-'));
  const path = join(folder, 'admin.sock');
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method ?? ''} ${request.url ?? ''}`);
    response.writeHead(code, { connection: 'close' }).end(JSON.stringify(document));
  });
  server.listen(path);
  await once(server, 'listening');
  t.after(() => {
    server.close();
    rmSync(folder, { recursive: true });
  });
  const run = (...words: string[]) => credence(['ca', ...words, '--admin-socket', path]);
  return { asked, run };
}

describe('credence ca prepare|activate|taint|revoke', () => {
  it('asks the daemon for it, and says what it came to', async (t) => {
    const { asked, run } = await admin(t);
    for (const [words, request, out] of [
      [['prepare'], 'prepare?level=issuing', `prepared the issuing CA ${ID}`],
      [['prepare', '--root'], 'prepare?level=root', `prepared the root ${ID}`],
      [['activate'], 'activate?level=issuing&force=false', `activated the issuing CA ${ID}`],
      [
        ['activate', '--root', '--force'],
        'activate?level=root&force=true',
        `activated the root ${ID}`,
      ],
      [['taint', 'AB:12:CD'], 'taint?authority=ab12cd', `tainted ${ID}`],
      [['revoke', 'ab12'], 'revoke?authority=ab12&force=false', `revoked ${ID}`],
      [['revoke', 'ab12', '--force'], 'revoke?authority=ab12&force=true', `revoked ${ID}`],
    ] as const) {
      const ran = await run(...words);
      assert.deepEqual([ran.out, ran.code], [`${out}\n`, 0], words.join(' '));
      assert.deepEqual(asked.splice(0), [`POST /ca/${request}`]);
    }
  });

  it('says that it may wait for proxies, where it may', async (t) => {
    const { run } = await admin(t);
    for (const words of [['activate'], ['taint', 'ab12']]) {
      assert.match((await run(...words)).err, /^waiting for proxies .*Ctrl-C/);
    }
    for (const words of [['activate', '--force'], ['prepare'], ['revoke', 'ab12']]) {
      assert.equal((await run(...words)).err, '');
    }
  });

  it('exits 1 with the reason when it cannot be', async (t) => {
    const { run } = await admin(t, 409, { error: '3 SVIDs of it are in use' });
    const { out, err, code } = await run('revoke', 'ab12');
    assert.deepEqual([out, err, code], ['', 'credence: 3 SVIDs of it are in use\n', 1]);
  });

  it('shows the authorities as text, and as one document', async (t) => {
    const document = { trust_domain: 'example.org', authorities: [], more: true };
    const { asked, run } = await admin(t, 200, document);
    const text = await run('status');
    assert.match(text.out, /^trust domain example\.org, /);
    const { out, err, code } = await run('status', '--json');
    assert.deepEqual([JSON.parse(out), err, code], [document, '', 0]);
    assert.deepEqual(asked, ['GET /ca', 'GET /ca']);
  });

  it('exits 69 when something else answers', async (t) => {
    const { run } = await admin(t, 200, { hello: 'world' });
    assert.equal((await run('status')).code, 69);
  });
});
