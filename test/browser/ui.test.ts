import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { startChild, type Child } from '../support/child.ts';
import { CREDENCE } from '../support/credence-command.ts';
import { createDaemon, entryForMe, type Daemon } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { connectProxy, type Proxy, type ProxyStream } from '../support/sds-proxy.ts';
import { openPage, startBrowser } from './browser.ts';

const [WEB, API, BILLING] = ['web', 'api', 'billing'].map((n) => `spiffe://example.org/${n}`) as [
  string,
  string,
  string,
];
/** What Envoy says of a key it cannot use. */
const WORDS =
  'Failed to load certificate chain from <inline>, only P-256, P-384 or P-521 ECDSA certificates are supported';
/** A page of this width is a phone's. */
const NARROW = 400;

/** What another site can make a browser do: read, ask without reading, show in a frame. */
const TRY = `async (target) => {
  const read = await fetch(target + 'status').then(() => 'read', () => 'failed');
  const blind = await fetch(target, { mode: 'no-cors' }).then(({ type }) => type, () => 'failed');
  const frame = document.createElement('iframe');
  frame.src = target;
  document.body.append(frame);
  await new Promise((resolve) => frame.addEventListener('load', resolve));
  return [read, blind];
}`;

let browser: Browser;
before(async () => {
  browser = await startBrowser();
});
after(() => browser.close());

/** A proxy that calls itself so and accepts these names; `open` asks for another, without an answer. */
async function connect(daemon: Daemon, id: string, ...names: string[]) {
  const proxy = connectProxy(daemon.socketPath);
  const version = { major_number: 1, minor_number: 40, patch: 0 };
  const node = { id, user_agent_name: 'envoy', user_agent_build_version: { version } };
  const open = async (name: string): Promise<ProxyStream> => {
    const stream = proxy.stream();
    stream.send({ node, resource_names: [name] });
    await stream.next();
    return stream;
  };
  for (const name of names) (await open(name)).ack();
  return { proxy, open };
}

/** `credence ui` beside the daemon, and the address it prints. */
async function startUi(t: TestContext, daemon: Daemon): Promise<{ url: string; child: Child }> {
  const socket = join(dirname(daemon.socketPath), 'admin.sock');
  const child = await startChild(process.execPath, [CREDENCE, 'ui', '--admin-socket', socket]);
  t.after(() => child.stop());
  const url = await eventually(() => /^http:\S+$/m.exec(child.log())?.[0], {
    what: 'credence ui prints an address',
    hopeless: () => child.ended(),
  });
  return { url, child };
}

async function startDaemon(t: TestContext): Promise<Daemon> {
  const daemon = await createDaemon({
    svidTtl: '10m',
    entries: [WEB, API, BILLING].map(entryForMe),
  });
  t.after(() => daemon[Symbol.asyncDispose]());
  await daemon.start();
  return daemon;
}

const close = (t: TestContext, ...proxies: Proxy[]) =>
  t.after(() => proxies.forEach((proxy) => proxy.close()));

/** The part of the page that is about one proxy. */
const proxyOf = (page: Page, id: string) => page.locator('.proxy').filter({ hasText: id });
const colourOf = (page: Page, selector: string) =>
  page.evaluate<string>(`getComputedStyle(document.querySelector('${selector}')).color`);

describe('the page of credence ui', { timeout: 120_000 }, () => {
  it('shows proxies, the life of their SVIDs, and a refusal in red with its words', async (t) => {
    const daemon = await startDaemon(t);
    const edge = await connect(daemon, 'edge-gateway', WEB, API, 'ROOTCA');
    const front = await connect(daemon, 'web-frontend', 'default', 'ROOTCA');
    const billing = await connect(daemon, 'billing-worker', 'ROOTCA');
    close(t, edge.proxy, front.proxy, billing.proxy);
    const { url } = await startUi(t, daemon);
    const { page, faults, asked } = await openPage(browser, {
      viewport: { width: 1280, height: 760 },
    });
    t.after(() => page.close());
    await page.goto(url);

    const shown = proxyOf(page, 'edge-gateway');
    await shown.getByText(WEB).waitFor();
    assert.match(await shown.innerText(), /pid \d+\n.*uid.*\nEnvoy 1\.40\.0\n3 streams/);
    const bar = shown.getByRole('meter', { name: `life of ${WEB}` });
    assert.match(
      (await bar.getAttribute('aria-valuetext')) ?? '',
      /^expires in 9m \d+s, rotates in \d+m( \d+s)?$/,
    );
    const mark = await bar.locator('.turn').boundingBox();
    const whole = await bar.boundingBox();
    assert.ok(mark && whole);
    // Half the life, give or take a tenth of that.
    const at = (mark.x + mark.width / 2 - whole.x) / whole.width;
    assert.ok(at > 0.42 && at < 0.6, `the rotation point is at ${at}`);
    assert.equal(await page.locator('.authority').count(), 2);
    assert.equal(await page.locator('#ready').innerText(), 'ready');
    assert.equal(await page.locator('.refusal').count(), 0);

    const stream = await billing.open(BILLING);
    const worker = proxyOf(page, 'billing-worker');
    await worker.getByText(/^sent [0-9a-f]{12}, no answer for \d+s, nothing in use$/).waitFor();
    await page.getByRole('button', { name: 'unanswered 1' }).waitFor();
    stream.nack(WORDS);
    const refusal = worker.locator('.refusal');
    await refusal.getByText(WORDS).waitFor();
    const [red = 0, green = 0, blue = 0] = (await colourOf(page, '.refusal'))
      .split(/\D+/)
      .slice(1)
      .map(Number);
    assert.ok(red > 2 * green && red > 2 * blue, `${red} ${green} ${blue}`);
    // Trouble comes first.
    assert.match(await page.locator('.proxy').first().innerText(), /^billing-worker/);

    const screenshot = process.env['CREDENCE_TEST_SCREENSHOT'];
    if (screenshot) await page.screenshot({ path: screenshot });
    assert.deepEqual(faults, []);
    assert.deepEqual(new Set(asked), new Set([url, `${url}status`]));
  });

  it('counts the time that is left without being told again', async (t) => {
    const daemon = await startDaemon(t);
    close(t, (await connect(daemon, 'edge-gateway', WEB)).proxy);
    const { url } = await startUi(t, daemon);
    const { page } = await openPage(browser);
    t.after(() => page.close());
    const bodies: number[] = [];
    page.on('response', (response) => void bodies.push(response.status()));
    await page.goto(url);
    const expires = page.locator('.proxy .expires').first();
    await expires.waitFor();
    const first = await expires.innerText();
    await eventually(async () => (await expires.innerText()) !== first, { what: 'it counts' });
    await eventually(() => bodies.filter((code) => code === 304).length >= 2, {
      what: 'nothing new is not sent',
    });
    assert.equal(bodies.filter((code) => code === 200).length, 2);
  });

  it('says since when the daemon is gone, and goes on once it is back', async (t) => {
    const daemon = await startDaemon(t);
    close(t, (await connect(daemon, 'edge-gateway', WEB)).proxy);
    const { url, child } = await startUi(t, daemon);
    const { page, faults } = await openPage(browser);
    t.after(() => page.close());
    await page.goto(url);
    const link = page.locator('#link');
    await link.getByText('live', { exact: true }).waitFor();
    await daemon.stop();
    await link.getByText(/^daemon not reachable since .*: cannot reach credence/).waitFor();
    // The last picture stays, as one of the past.
    assert.equal(await page.locator('#ready').innerText(), 'was ready');
    assert.equal(await page.locator('#ready').getAttribute('data-tone'), 'past');
    assert.equal(await proxyOf(page, 'edge-gateway').count(), 1);
    await daemon.start();
    await link.getByText('live', { exact: true }).waitFor();
    await page.getByText('no proxy', { exact: true }).waitFor();
    close(t, (await connect(daemon, 'web-frontend', API)).proxy);
    await proxyOf(page, 'web-frontend').getByText(API).waitFor();
    assert.deepEqual(faults, []);
    await child.stop();
    await link.getByText(/^credence ui has ended/).waitFor();
  });

  it('shows what a proxy calls itself as text', async (t) => {
    const daemon = await startDaemon(t);
    const id = '<img src=x onerror="document.title=1"><script>document.title=1</script>\u202ex';
    const { proxy, open } = await connect(daemon, id, API);
    close(t, proxy);
    (await open(WEB)).nack('<b onclick=alert(1)>no</b><style>*{display:none}</style>');
    const { url } = await startUi(t, daemon);
    const { page, faults, asked } = await openPage(browser);
    t.after(() => page.close());
    await page.goto(url);
    await page.getByText('<b onclick=alert(1)>no</b>').waitFor();
    assert.equal(await page.locator('h3').innerText(), id.replace('\u202e', '\\u202e'));
    assert.equal(await page.locator('#proxies :is(img, script, b, style)').count(), 0);
    assert.match(await page.title(), /^example\.org on /);
    assert.deepEqual([faults, new Set(asked).size], [[], 2]);
  });

  it('fits a narrow screen, follows the colour scheme, and is used with the keyboard', async (t) => {
    const daemon = await startDaemon(t);
    close(t, (await connect(daemon, 'x'.repeat(200), WEB, 'ROOTCA')).proxy);
    close(t, (await connect(daemon, 'edge-gateway', API)).proxy);
    const { url } = await startUi(t, daemon);
    const { page, faults } = await openPage(browser, {
      viewport: { width: NARROW, height: 800 },
      colorScheme: 'dark',
    });
    t.after(() => page.close());
    await page.goto(url);
    await page.locator('.proxy').nth(1).waitFor();
    assert.equal(await page.evaluate('document.documentElement.scrollWidth'), NARROW);
    const ground = () => page.evaluate('getComputedStyle(document.body).backgroundColor');
    const dark = await ground();
    await page.emulateMedia({ colorScheme: 'light' });
    assert.notEqual(await ground(), dark);

    await page.keyboard.press('/');
    await page.keyboard.type('edge');
    await page.getByText('1 proxy', { exact: true }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByText('2 proxies', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'refused 0' }).press('Enter');
    await page.getByText('no proxy: refused').waitFor();
    assert.deepEqual(faults, []);
  });

  it('gives nothing to the page of another site in the same browser', async (t) => {
    const daemon = await startDaemon(t);
    const { url } = await startUi(t, daemon);
    const elsewhere = createServer((_, response) => response.end('<!doctype html>'));
    elsewhere.listen(0, '127.0.0.1');
    await once(elsewhere, 'listening');
    t.after(() => elsewhere.close());
    const { page } = await openPage(browser);
    t.after(() => page.close());
    await page.goto(`http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/`);
    const codes: number[] = [];
    page.on('response', (response) => void codes.push(response.status()));
    const outcomes = await page.evaluate(`(${TRY})(${JSON.stringify(url)})`);
    assert.deepEqual(outcomes, ['failed', 'failed']);
    assert.ok(codes.length > 0 && codes.every((code) => code === 403), codes.join());
  });
});
