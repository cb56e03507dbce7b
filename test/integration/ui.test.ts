import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { StatusAnswer } from '../../src/ui/view.ts';
import { startChild } from '../support/child.ts';
import { CREDENCE, runCredence } from '../support/credence-command.ts';
import { createDaemon, entryForMe, type Daemon } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-client.ts';

describe('credence ui', () => {
  let daemon: Daemon;
  let socket: string;
  before(async () => {
    daemon = await createDaemon({ entries: [entryForMe('spiffe://example.org/web')] });
    await daemon.start();
    socket = join(dirname(daemon.socketPath), 'admin.sock');
  });
  after(() => daemon[Symbol.asyncDispose]());

  it('prints an address, serves page and status there and nowhere else, and ends when asked', async () => {
    await using child = await startChild(process.execPath, [
      ...[CREDENCE, 'ui', '--admin-socket', socket],
    ]);
    const [, port = '', path = ''] = await eventually(
      () => /^http:\/\/127\.0\.0\.1:(\d+)(\/[\w-]{43}\/)$/m.exec(child.log()) ?? undefined,
      { what: 'credence ui prints an address', hopeless: () => child.ended() },
    );
    const page = await httpGet(Number(port), {}, path);
    assert.equal(page.status, 200);
    assert.match(page.body, /^<!doctype html>/);
    assert.doesNotMatch(page.body, /(src|href)="(?!data:)/);
    const status = await httpGet(Number(port), {}, `${path}status`);
    const answer = JSON.parse(status.body) as StatusAnswer;
    assert.equal(answer.kind === 'status' && answer.status.trustDomain, 'example.org');
    const behind = Date.now() - Number(status.headers['credence-now']);
    assert.ok(Math.abs(behind) < 5000, `${behind} ms`);
    assert.equal((await httpGet(Number(port), {}, '/')).status, 404);
    assert.equal((await httpGet(Number(port), { host: `evil.example:${port}` }, path)).status, 403);
    await child.stop('SIGTERM');
    assert.equal(child.ended(), 'ended with code 0');
  });

  it('ends with 69 when there is no daemon to look at', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'credence-ui-'));
    try {
      const missing = join(dir, 'admin.sock');
      const { code, out, err } = await runCredence(['ui', '--admin-socket', missing]);
      assert.deepEqual([code, out], [69, '']);
      assert.match(err, /cannot reach credence at .*: there is no such socket/);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  it('ends with 1 when the port is taken', async (t) => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    t.after(() => taken.close());
    const { port } = taken.address() as AddressInfo;
    const args = ['ui', '--admin-socket', socket, '--port', String(port)];
    const { code, out, err } = await runCredence(args);
    assert.deepEqual([code, out], [1, '']);
    assert.match(err, new RegExp(`cannot serve on 127.0.0.1:${port}: it is in use`));
  });
});
