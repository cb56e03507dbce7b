import assert from 'node:assert/strict';
import { existsSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import type { Issuer } from '../../src/issuer/issuer.ts';
import { startApp } from '../support/app.ts';
import { eventually } from '../support/eventually.ts';

describe('/ready', () => {
  it('says that the socket is gone while nobody can connect, and puts it back', async () => {
    await using app = await startApp();
    assert.equal(await app.get('/ready'), 'ready\n');
    rmSync(app.socketPath);
    writeFileSync(app.socketPath, 'a note');
    const lost = `the socket ${app.socketPath} is no longer there: something else stands in its place`;
    const waiting = { what: 'a daemon that notices' };
    await eventually(async () => (await app.get('/ready')) === `not ready: ${lost}\n`, waiting);
    unlinkSync(app.socketPath);
    const isBack = async () =>
      existsSync(app.socketPath) && (await app.get('/ready')) === 'ready\n';
    await eventually(isBack, { what: 'the socket, and ready again' });
  });

  it('says that the issuing CA has expired, as health and status do, until there is another', async () => {
    let expired = false;
    const decorateIssuer = (issuer: Issuer): Issuer => ({
      ...issuer,
      authorities: () =>
        issuer
          .authorities()
          .map((one) => (expired && one.slot === 'active' ? { ...one, notAfterMs: 1000 } : one)),
    });
    await using app = await startApp({ deps: { decorateIssuer } });
    assert.equal(await app.get('/ready'), 'ready\n');
    expired = true;
    assert.equal(await app.get('/ready'), 'not ready: the issuing CA has expired\n');
    const status = JSON.parse(await app.get('/status')) as { not_ready: unknown };
    assert.deepEqual(status.not_ready, ['the issuing CA has expired']);
    expired = false;
    assert.equal(await app.get('/ready'), 'ready\n');
  });
});
