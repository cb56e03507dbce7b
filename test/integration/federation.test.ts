import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { namesOf, only } from '../support/answers.ts';
import { startApp } from '../support/app.ts';
import { temporaryFolder } from '../support/issuer.ts';
import { runCredence } from '../support/credence-command.ts';
import { connectDeltaProxy } from '../support/delta-proxy.ts';
import { connectProxy } from '../support/sds-proxy.ts';
import { foreignCas } from '../support/upstream.ts';

const { make } = foreignCas();
const root = make({ name: 'partner root' }).cert;
const next = make({ name: 'next partner root' }).cert;
const PARTNER = 'spiffe://partner.example';
const WEB = { spiffe_id: 'spiffe://example.org/web', federates_with: ['partner.example'] };

const settings = (folder: string) => ({ federation: { bundles_dir: folder } });

/** How many roots a validation context has of each trust domain. */
function domainsOf(response: Parameters<typeof only>[0]) {
  const secret = only(response);
  assert.ok(secret.kind === 'spiffe bundle', secret.kind);
  return Object.fromEntries(
    Object.entries(secret.domains).map(([name, roots]) => [
      name,
      roots.split('BEGIN CERTIFICATE').length - 1,
    ]),
  );
}

describe('bundles of other trust domains', { timeout: 60_000 }, () => {
  it('are served to who federates with them, and pushed when they change', async (t) => {
    const folder = temporaryFolder(t);
    const file = join(folder, 'partner.example.pem');
    writeFileSync(file, root);
    await using app = await startApp({ entries: [WEB], settings: settings(folder) });
    using proxy = connectProxy(app.socketPath);
    const one = proxy.stream();
    one.ask(PARTNER);
    assert.deepEqual(domainsOf(await one.next()), { 'partner.example': 1 });
    one.ack(PARTNER);
    const all = proxy.stream();
    all.ask('ALL');
    assert.deepEqual(domainsOf(await all.next()), { 'example.org': 1, 'partner.example': 1 });
    all.ack('ALL');
    writeFileSync(file, root + next);
    assert.deepEqual(domainsOf(await one.next()), { 'partner.example': 2 });
    assert.deepEqual(domainsOf(await all.next()), { 'example.org': 1, 'partner.example': 2 });
    all.ack('ALL');
    rmSync(file);
    assert.deepEqual(domainsOf(await all.next()), { 'example.org': 1 });
  });

  it('are pushed over Delta as well', async (t) => {
    const folder = temporaryFolder(t);
    const file = join(folder, 'partner.example.pem');
    writeFileSync(file, root);
    await using app = await startApp({ entries: [WEB], settings: settings(folder) });
    using proxy = connectDeltaProxy(app.socketPath);
    const stream = proxy.stream();
    stream.send({ subscribe: [PARTNER] });
    const [before] = (await stream.next()).resources;
    stream.ack();
    writeFileSync(file, root + next);
    const [after] = (await stream.next()).resources;
    assert.deepEqual([before?.name, after?.name], [PARTNER, PARTNER]);
    assert.notEqual(before?.version, after?.version);
  });

  it("are nobody else's", async (t) => {
    const folder = temporaryFolder(t);
    writeFileSync(join(folder, 'partner.example.pem'), root);
    await using app = await startApp({ settings: settings(folder) });
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.ask(PARTNER);
    assert.equal((await stream.ending()).code, 'PERMISSION_DENIED');
    const all = proxy.stream();
    all.ask('ALL');
    assert.deepEqual(domainsOf(await all.next()), { 'example.org': 1 });
  });

  it('are among everything that a process holds, once they are known', async (t) => {
    const folder = temporaryFolder(t);
    await using app = await startApp({ entries: [WEB], settings: settings(folder) });
    using proxy = connectProxy(app.socketPath);
    const before = await proxy.fetch({ resource_names: [] });
    assert.deepEqual(namesOf(before), ['spiffe://example.org', WEB.spiffe_id]);
    const stream = proxy.stream();
    stream.ask(PARTNER);
    writeFileSync(join(folder, 'partner.example.pem'), root);
    // Who waited for it gets it.
    assert.deepEqual(domainsOf(await stream.next()), { 'partner.example': 1 });
    const after = await proxy.fetch({ resource_names: [] });
    assert.deepEqual(namesOf(after), ['spiffe://example.org', PARTNER, WEB.spiffe_id]);
  });

  it('are set and deleted by hand', async (t) => {
    const folder = temporaryFolder(t);
    await using app = await startApp({ entries: [WEB] });
    const admin = ['--admin-socket', join(dirname(app.socketPath), 'admin.sock')];
    const partner = ['--trust-domain', 'partner.example'];
    using proxy = connectProxy(app.socketPath);
    const all = proxy.stream();
    all.ask('ALL');
    assert.deepEqual(domainsOf(await all.next()), { 'example.org': 1 });
    all.ack('ALL');
    writeFileSync(join(folder, 'roots.pem'), root + next);
    const file = ['--file', join(folder, 'roots.pem')];
    const set = await runCredence(['bundle', 'set', ...admin, ...partner, ...file]);
    assert.deepEqual([set.code, set.out], [0, 'the bundle of partner.example is set\n'], set.err);
    assert.deepEqual(domainsOf(await all.next()), { 'example.org': 1, 'partner.example': 2 });
    all.ack('ALL');
    const shown = await runCredence(['bundle', 'show', ...admin, ...partner]);
    assert.equal(shown.out.split('BEGIN CERTIFICATE').length - 1, 2);
    writeFileSync(join(folder, 'roots.pem'), 'nonsense');
    const refused = await runCredence(['bundle', 'set', ...admin, ...partner, ...file]);
    assert.equal(refused.code, 1);
    assert.match(refused.err, /found neither/);
    const own = ['--trust-domain', 'example.org'];
    assert.match(
      (await runCredence(['bundle', 'set', ...admin, ...own, ...file])).err,
      /own trust/,
    );
    const deleted = await runCredence(['bundle', 'delete', ...admin, ...partner]);
    assert.equal(deleted.code, 0, deleted.err);
    assert.deepEqual(domainsOf(await all.next()), { 'example.org': 1 });
    assert.equal((await runCredence(['bundle', 'delete', ...admin, ...partner])).code, 1);
  });

  it('are shown to the operator, with what is wrong', async (t) => {
    const folder = temporaryFolder(t);
    writeFileSync(join(folder, 'partner.example.pem'), root);
    writeFileSync(join(folder, 'broken.example.json'), '{');
    await using app = await startApp({ entries: [WEB], settings: settings(folder) });
    const status = JSON.parse(await app.get('/status')) as Record<
      string,
      { [key: string]: unknown }[]
    >;
    const [bundle] = status['foreign_bundles'] ?? [];
    assert.equal(bundle?.['trust_domain'], 'partner.example');
    assert.equal(bundle['source'], 'folder');
    const [fault] = status['foreign_bundle_faults'] ?? [];
    assert.match(String(fault?.['reason']), /expected a SPIFFE bundle in JSON/);
    const shown = JSON.parse(await app.get('/bundle?trust_domain=partner.example')) as object;
    assert.equal((shown as { x509_authorities: string[] }).x509_authorities.length, 1);
    assert.match(await app.get('/bundle?trust_domain=other.example'), /no bundle of other.example/);
  });
});
