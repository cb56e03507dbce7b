import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import fc from 'fast-check';
import { credence, type Ran } from '../../test/support/transcript.ts';
import { secretDiscoveryService } from '../sds/service.ts';

/** Texts that would move a cursor, set a title, turn the writing around or pretend to be a line. */
const hostile = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 8 }),
      fc.constantFrom('\x1b[2J', '\x1b]52;c;eA==\x07', '\x9b1m', '\x90q', '\u202e', '\u2028', '\r'),
      fc.constant('\nhint: all is well\n'),
    ),
    { minLength: 1, maxLength: 6 },
  )
  .map((parts) => parts.join(''));

function assertHarmless({ out, err }: Ran, what: string): void {
  assert.doesNotMatch(out + err, /(?!\n)[\p{C}\p{Zl}\p{Zp}]/u, what);
  assert.doesNotMatch(err, /^hint: all is well/m, what);
  assert.doesNotMatch(err, /\n {4}at /, what);
}

describe('a daemon that wants to steer the terminal', () => {
  const folder = mkdtempSync(join(tmpdir(), 'credence-hostile-'));
  const adminPath = join(folder, 'admin.sock');
  const publicPath = join(folder, 'api.sock');
  let answer = { code: 200, body: '' };
  let refusal = { code: status.PERMISSION_DENIED, details: '' };
  const admin = createServer((_, response) => response.writeHead(answer.code).end(answer.body));
  const sds = new Server();

  before(async () => {
    admin.listen(adminPath);
    await once(admin, 'listening');
    const unasked = () => assert.fail('not asked');
    sds.addService(secretDiscoveryService({ maxNames: 10, maxNameBytes: 100 }), {
      FetchSecrets: (_: unknown, done: (error: object) => void) => done(refusal),
      StreamSecrets: unasked,
      DeltaSecrets: unasked,
    });
    await new Promise<void>((resolve, reject) =>
      sds.bindAsync(`unix:${publicPath}`, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      ),
    );
  });
  after(() => {
    admin.close();
    sds.forceShutdown();
    rmSync(folder, { recursive: true });
  });

  const ask = (...words: string[]) => credence([...words, '--admin-socket', adminPath]);

  it('cannot through status, which stays one JSON document when asked for that', async () => {
    await fc.assert(
      fc.asyncProperty(hostile, async (text) => {
        const secret = { name: text, sent: text, refused: { version: text, text }, serial: text };
        const document = {
          version: text,
          node_name: text,
          trust_domain: text,
          not_ready: [text],
          policy: { entries: 1, revision: text, last_error: text },
          authorities: [{ slot: text, not_after: text }],
          proxies: [{ node_id: text, streams: [{ waiting: [text], secrets: [secret] }] }],
        };
        answer = { code: 200, body: JSON.stringify(document) };
        const shown = await ask('status');
        assert.equal(shown.code, 0);
        assert.equal(shown.out.split('\n').length, 11);
        assertHarmless(shown, 'status');
        const json = await ask('status', '--json');
        assertHarmless(json, 'status --json');
        assert.deepEqual(JSON.parse(json.out), document);
      }),
      { numRuns: 40 },
    );
  });

  it('cannot through errors, health or the bundle', async () => {
    await fc.assert(
      fc.asyncProperty(hostile, async (text) => {
        answer = { code: 500, body: JSON.stringify({ error: text }) };
        assertHarmless(await ask('status'), 'an error');
        answer = { code: 503, body: text };
        const health = await ask('health');
        assertHarmless(health, 'health');
        assert.match(health.out, /^.*\n$/);
        answer = { code: 200, body: text };
        assertHarmless(await ask('status'), 'no JSON');
        answer = { code: 200, body: JSON.stringify({ x509_authorities: [text, { text }] }) };
        for (const format of ['pem', 'spiffe']) {
          assertHarmless(await ask('bundle', 'show', '--format', format), `bundle ${format}`);
        }
      }),
      { numRuns: 40 },
    );
  });

  it('cannot through the reason of a refused fetch', async () => {
    await fc.assert(
      fc.asyncProperty(hostile, async (text) => {
        refusal = { code: status.PERMISSION_DENIED, details: text };
        const ran = await credence(['fetch', 'x509', '--socket', publicPath]);
        assert.equal(ran.code, 1);
        assertHarmless(ran, 'fetch');
      }),
      { numRuns: 20 },
    );
  });
});
