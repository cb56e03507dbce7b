import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { broken, document, type Behaviour } from '../../test/support/api-server.ts';
import { eventually } from '../../test/support/eventually.ts';
import { FakeLogger } from '../../test/support/issuer.ts';
import { HASTY, ROOTS_PATH, startKubeWorld } from '../../test/support/kube-ca.ts';
import { foreignCas } from '../../test/support/upstream.ts';
import { fromFiles } from '../kubernetes/access.ts';
import { createApi } from '../kubernetes/api.ts';
import { createKnownRoots } from './known-roots.ts';
import { followRoots, type RootsPlace } from './roots.ts';

const foreign = foreignCas();
const one = foreign.make({ name: 'one' });
const two = foreign.make({ name: 'two' });
const der = (pem: string) => new X509Certificate(pem).raw;
const CONFIG_MAP = { kind: 'config_map', namespace: 'credence', name: 'roots' } as const;

describe('createKnownRoots()', () => {
  it('has none before it is told, then each once', () => {
    const roots = createKnownRoots('a file', new FakeLogger());
    assert.equal(roots.current(), undefined);
    assert.match(roots.fault() ?? '', /a file has not been heard of yet/);
    assert.ok(roots.take(one.cert + two.cert + one.cert));
    assert.deepEqual(roots.current(), [der(one.cert), der(two.cert)]);
    assert.equal(roots.fault(), undefined);
  });

  it('tells of others, not of the same again in another order', () => {
    const roots = createKnownRoots('a file', new FakeLogger());
    let changes = 0;
    roots.onChange(() => {
      changes++;
    });
    roots.take(one.cert + two.cert);
    roots.take(two.cert + one.cert);
    assert.equal(changes, 1);
    roots.take(two.cert);
    assert.equal(changes, 2);
  });

  it('keeps the last good ones, and says once why', () => {
    const log = new FakeLogger();
    const roots = createKnownRoots('a file', log);
    roots.take(one.cert);
    const below = foreign.make({ name: 'below', issuer: one });
    const bad = ['', '<html>', one.cert + one.key, one.cert.slice(0, 200), one.cert + below.cert];
    for (const text of bad) {
      assert.ok(!roots.take(text), text.slice(0, 20));
      assert.ok(!roots.take(text), text.slice(0, 20));
      assert.notEqual(roots.fault(), undefined);
    }
    assert.match(roots.fault() ?? '', /CN=below is no CA that has signed itself/);
    // Of the first three it is the same that is wrong, or not: no line of the same twice in a row.
    const said = log.lines.filter(({ level }) => level === 'warn').map((l) => l.fields.reason);
    assert.ok(said.every((reason, n) => reason !== said[n - 1]));
    assert.deepEqual(roots.current(), [der(one.cert)]);
    roots.take(one.cert);
    assert.equal(roots.fault(), undefined);
  });

  it('takes nothing that is no root, whatever it is told', () => {
    const roots = createKnownRoots('a file', new FakeLogger());
    roots.take(one.cert);
    const cut = fc
      .tuple(fc.nat(one.cert.length), fc.string({ unit: 'binary' }))
      .map(([at, by]) => one.cert.slice(0, at) + by + one.cert.slice(at + by.length));
    fc.assert(
      fc.property(fc.oneof(cut, fc.string({ unit: 'binary' })), (text) => {
        roots.take(text);
        assert.deepEqual(roots.current(), [der(one.cert)]);
      }),
    );
  });
});

describe('followRoots()', { timeout: 60_000 }, () => {
  async function open(t: TestContext, place: RootsPlace, behaviour?: Behaviour) {
    const world = await startKubeWorld(t, foreign);
    if (behaviour) world.server.behave(behaviour);
    const closing = new AbortController();
    const { host, port, caFile: ca, tokenFile: token } = world.server;
    const api = createApi(fromFiles({ host, port, ca, token }, HASTY), HASTY);
    t.after(() => {
      closing.abort(new Error('the end of the test'));
      api.close();
    });
    const roots = followRoots(place, { ...world.deps, api, signal: closing.signal });
    const until = (what: string, ...cas: readonly { cert: string }[]) =>
      eventually(
        () => {
          const [now, want] = [roots.current() ?? [], cas.map(({ cert }) => der(cert))];
          return now.length === want.length && want.every((w) => now.some((n) => n.equals(w)));
        },
        { what },
      );
    return { ...world, roots, until };
  }

  it('follows a ConfigMap, and keeps what it had when that is gone or empty', async (t) => {
    const { cluster, roots, until, tellRoots, root } = await open(t, CONFIG_MAP);
    await until('the first root', root);
    tellRoots(one, two);
    await until('both', one, two);
    cluster.put(ROOTS_PATH, 'roots', { data: {} });
    await eventually(() => roots.fault() !== undefined, { what: 'a fault' });
    cluster.remove(ROOTS_PATH, 'roots');
    cluster.put(ROOTS_PATH, 'others', { data: { 'ca.crt': root.cert } });
    tellRoots(two);
    await until('the second', two);
    assert.equal(roots.fault(), undefined);
  });

  it('tells which of them are to be left, and takes nothing else for one', async (t) => {
    const { cluster, roots, until, root } = await open(t, CONFIG_MAP);
    await until('the root', root);
    assert.deepEqual(roots.tainted(), []);
    const id = 'ab'.repeat(20);
    const tainted = `${id}\n\nAB\n${'ab'.repeat(30)}\n../${id}\n`;
    cluster.put(ROOTS_PATH, 'roots', { data: { 'ca.crt': root.cert, tainted } });
    await eventually(() => roots.tainted().length === 1, { what: 'one is to be left' });
    assert.deepEqual(roots.tainted(), [id]);
    cluster.put(ROOTS_PATH, 'roots', { data: { 'ca.crt': root.cert } });
    await eventually(() => roots.tainted().length === 0, { what: 'none is' });
  });

  it('says which right is missing, and goes on once it is there', async (t) => {
    const world = await open(t, CONFIG_MAP, document({ message: 'no' }, 403));
    await eventually(() => world.log.count('warn', 'cannot be followed') > 0, { what: 'a word' });
    const [line] = world.log.lines;
    assert.match(line?.fields.detail ?? '', /configmaps roots in credence: list, watch/);
    world.server.behave(world.cluster.behaviour);
    await world.until('the root', world.root);
  });

  it('survives an outage', async (t) => {
    const { server, cluster, tellRoots, until, root } = await open(t, CONFIG_MAP);
    await until('the first root', root);
    server.behave(broken);
    await server.leave();
    tellRoots(root, two);
    await server.back();
    server.behave(broken, broken, cluster.behaviour);
    await until('both', root, two);
  });

  const served = (version: string | undefined): Behaviour =>
    document({ resources: version === undefined ? [] : [{ name: 'clustertrustbundles' }] });

  it('follows a ClusterTrustBundle by the version that the server has', async (t) => {
    const place = { kind: 'cluster_trust_bundle', name: 'credence.io:node-ca:example' } as const;
    let offered = 'v1alpha1';
    const world = await open(t, place, (request, response) => {
      const [, asked] = /^\/apis\/certificates\.k8s\.io\/([^/]+)$/.exec(request.url ?? '') ?? [];
      if (asked === 'v1') return served(undefined)(request, response);
      if (asked !== undefined && asked !== offered) return document({}, 404)(request, response);
      if (asked !== undefined) return served(asked)(request, response);
      const isOffered = request.url?.includes(`/${offered}/`) === true;
      return (isOffered ? world.cluster.behaviour : document({}, 404))(request, response);
    });
    const path = (version: string) => `/apis/certificates.k8s.io/${version}/clustertrustbundles`;
    const put = (version: string, ...cas: readonly { cert: string }[]) =>
      world.cluster.put(path(version), place.name, {
        spec: { trustBundle: cas.map(({ cert }) => cert).join('') },
      });
    put('v1alpha1', one);
    await world.until('the root', one);
    // The server is upgraded: the old version is gone.
    offered = 'v1beta1';
    put('v1beta1', one, two);
    await world.server.leave();
    await world.server.back();
    await world.until('both', one, two);
  });

  it('follows a file, which nobody else may write', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'credence-roots-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'ca.crt');
    const { roots, until } = await open(t, { kind: 'file', path });
    assert.match(roots.fault() ?? '', /cannot read .*ca\.crt: ENOENT/);
    writeFileSync(path, one.cert, { mode: 0o644 });
    await until('the root', one);
    writeFileSync(path, one.cert + two.cert);
    await until('both', one, two);
    chmodSync(path, 0o666);
    await eventually(() => roots.fault()?.includes('other users may write it') === true, {
      what: 'a fault',
    });
    assert.equal(roots.current()?.length, 2);
  });
});
