import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import type { Browser } from 'playwright-core';
import { systemClock } from '../../src/core/clock.ts';
import { readPage } from '../../src/ui/page-file.ts';
import { createPictures, type Look } from '../../src/ui/pictures.ts';
import { createUiServer } from '../../src/ui/server.ts';
import type { ProxyState, StatusPage } from '../../src/ui/view.ts';
import { CREDENCE } from '../support/credence-command.ts';
import { openPage, startBrowser } from './browser.ts';

const HOUR_MS = 3_600_000;

let browser: Browser;
before(async () => {
  browser = await startBrowser();
});
after(() => browser.close());

/** The built page in front of a daemon that a test makes up, and its address. */
async function serve(t: TestContext, look: Look): Promise<string> {
  const door = { token: 'token', port: 0 };
  const page = readPage(join(dirname(CREDENCE), 'ui.html'));
  const limit = { clock: systemClock, onFull: () => undefined };
  const shown = { page, picture: createPictures(look, systemClock) };
  const server = createUiServer(shown, () => door, limit);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  door.port = (server.address() as AddressInfo).port;
  return `http://127.0.0.1:${door.port}/${door.token}/`;
}

async function open(t: TestContext, url: string) {
  const opened = await openPage(browser);
  t.after(() => opened.page.close());
  await opened.page.goto(url);
  return opened;
}

function statusOf(proxies: readonly ProxyState[], over: Partial<StatusPage> = {}): StatusPage {
  return {
    version: '0.1.0',
    nodeName: 'n',
    trustDomain: 'example.org',
    startedAtMs: 0,
    notReady: [],
    policy: {
      entries: 1,
      revision: null,
      loadedAtMs: null,
      warnings: 0,
      lastError: null,
      lastErrorAtMs: null,
    },
    upstream: null,
    authorities: [],
    bundleReaders: { readers: 0, behind: 0 },
    rotation: { held: 1, due: 0, earliestNotAfterMs: null },
    proxies,
    ...over,
  };
}

/** A proxy with two SVIDs that began at 0, live for two hours and rotate half-way. */
function proxyState(pid: number, over: Partial<ProxyState> = {}): ProxyState {
  const secrets = ['a', 'b'].map((name) => ({
    name: `spiffe://example.org/${pid}/${name}`,
    sent: 'v1',
    state: 'accepted' as const,
    sentAtMs: 0,
    unansweredSinceMs: null,
    acknowledged: 'v1',
    refused: null,
    spiffeId: `spiffe://example.org/${pid}/${name}`,
    serial: '0b',
    notBeforeMs: 0,
    notAfterMs: 2 * HOUR_MS,
    nextRotationMs: HOUR_MS,
    inUse: {
      version: 'v1',
      spiffeId: `spiffe://example.org/${pid}/${name}`,
      serial: '0b',
      notBeforeMs: 0,
      notAfterMs: 2 * HOUR_MS,
    },
  }));
  const streams = [{ kind: 'sotw', openedAtMs: 0, waiting: [], absentNotShown: 0, secrets }];
  return {
    pid,
    uid: 33,
    user: 'www-data',
    nodeId: `node-${pid}`,
    envoyVersion: null,
    refusals: [],
    streams,
    ...over,
  };
}

describe('the page of credence ui, whatever the daemon says', { timeout: 120_000 }, () => {
  it('draws 50 of 1,000 proxies, finds any, and makes only those anew that changed', async (t) => {
    const proxies = Array.from({ length: 1000 }, (_, n) => proxyState(n + 1));
    const url = await serve(t, () => Promise.resolve({ status: statusOf(proxies), nowMs: 0 }));
    const { page, faults } = await open(t, url);
    await page.getByText('1 to 50 of 1000 proxies').waitFor();
    assert.equal(await page.locator('.proxy').count(), 50);

    // Marks of ours stay on what is not made anew.
    await page.evaluate(
      "document.querySelectorAll('.proxy').forEach((row) => (row.title = 'old'))",
    );
    proxies[9] = proxyState(10, { envoyVersion: '1.40.1' });
    await page.getByText('Envoy 1.40.1').waitFor();
    assert.equal(await page.locator('.proxy[title=old]').count(), 49);
    assert.equal(await page.locator('.proxy:not([title])').getByText('node-10').count(), 1);

    await page.getByRole('button', { name: 'Next' }).click();
    await page.getByText('51 to 100 of 1000 proxies').waitFor();
    await page.getByRole('searchbox').fill('node-777');
    await page.getByText('1 proxy', { exact: true }).waitFor();
    // The text of a row that is not drawn yet is empty for who asks for what is to be seen.
    assert.equal(await page.locator('.proxy h3').textContent(), 'node-777');
    assert.deepEqual(faults, []);
  });

  it('counts the warnings of the policy while there are any', async (t) => {
    let warnings = 2;
    const { policy } = statusOf([]);
    const look = () => ({ status: statusOf([], { policy: { ...policy, warnings } }), nowMs: 0 });
    const { page, faults } = await open(t, await serve(t, () => Promise.resolve(look())));
    await page.getByText('2 warnings, see credence check').waitFor();
    warnings = 0;
    await page.getByText('see credence check').waitFor({ state: 'detached' });
    assert.deepEqual(faults, []);
  });

  it("reads lives by the daemon's clock, half a century from the browser's", async (t) => {
    const nowMs = HOUR_MS / 2 + 500;
    const url = await serve(t, () => Promise.resolve({ status: statusOf([proxyState(1)]), nowMs }));
    const { page } = await open(t, url);
    const gauge = page.locator('.proxy .gauge').first();
    // Not as drawn: rows are drawn when they come into view.
    assert.equal(await gauge.locator('.expires').textContent(), 'expires in 1h 29m');
    assert.equal(await gauge.locator('.rotates').textContent(), 'rotates in 29m 59s');
    const [bar, left] = await Promise.all([
      gauge.locator('.bar').boundingBox(),
      gauge.locator('.left').boundingBox(),
    ]);
    assert.ok(bar && left);
    // A quarter is spent, and the bar ends where the rotation is.
    assert.ok(Math.abs((left.x - bar.x) / bar.width - 0.25) < 0.02);
    assert.ok(Math.abs(left.width / bar.width - 0.25) < 0.02);
  });

  it('marks what is overdue and what is over', async (t) => {
    let nowMs = HOUR_MS + 90_000;
    const url = await serve(t, () => Promise.resolve({ status: statusOf([proxyState(1)]), nowMs }));
    const { page } = await open(t, url);
    await page
      .getByText(/^rotation overdue by 1m 3\ds$/)
      .first()
      .waitFor();
    nowMs = 2 * HOUR_MS + 5000;
    await page
      .getByText(/^expired \ds ago$/)
      .first()
      .waitFor();
  });

  it('says why the daemon is not ready and why a policy was refused', async (t) => {
    const policy = { ...statusOf([]).policy, lastError: 'web.yaml:3: no <b>', lastErrorAtMs: 0 };
    const status = statusOf([], { notReady: ['starting', 'disk'], policy });
    const url = await serve(t, () => Promise.resolve({ status, nowMs: 60_000 }));
    const { page } = await open(t, url);
    await page.getByText('not ready: starting, disk').waitFor();
    await page.getByText(/^last change refused 1m( 1s)? ago: web\.yaml:3: no <b>$/).waitFor();
  });

  it('says that there is no answer while a slow daemon gives none', async (t) => {
    const stall: { over?: () => void } = {};
    let asked = 0;
    const url = await serve(t, async () => {
      if (++asked > 1) await new Promise<void>((resolve) => (stall.over = resolve));
      return { status: statusOf([proxyState(1)]), nowMs: 0 };
    });
    const { page, faults } = await open(t, url);
    const link = page.locator('#link');
    await link.getByText('live', { exact: true }).waitFor();
    await link.getByText(/^no answer for [34]s$/).waitFor();
    stall.over?.();
    await link.getByText('live', { exact: true }).waitFor();
    assert.deepEqual(faults, []);
  });
});
