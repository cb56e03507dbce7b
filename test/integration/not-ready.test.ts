import assert from 'node:assert/strict';
import { existsSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
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
});
