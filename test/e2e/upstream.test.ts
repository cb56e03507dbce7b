import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { findPlace } from '../support/bootstrap-file.ts';
import { createDaemon, entryForMe, type Daemon } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { openssl } from '../support/issuer.ts';
import { CLIENT, SERVER, startPair, startWatchedLoad } from '../support/pair.ts';
import { svidOf } from '../support/tls-client.ts';
import { createForeignCas, mountSecret } from '../support/upstream.ts';

const ENTRIES = [SERVER, CLIENT].map(entryForMe);

describe('two daemons with one issuing CA', { timeout: 180_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'credence-upstream-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  const make = createForeignCas(folder);
  const root = make({ name: 'root' });
  const issuing = make({ name: 'issuing', issuer: root });
  const newRoot = make({ name: 'new root' });
  const next = make({ name: 'next', issuer: newRoot });
  const FIRST = { cert: issuing.cert, key: issuing.key, bundle: root.cert };
  const SECOND = { cert: next.cert, key: next.key, bundle: newRoot.cert };

  /** Two nodes, each with a mount of its own, as two kubelets make it. */
  async function twoNodes(t: { name: string }, svidTtl: string) {
    const mounts = ['a', 'b'].map((node) =>
      mountSecret(join(folder, `${t.name.slice(0, 8)}-${node}`), FIRST),
    );
    const daemons: Daemon[] = [];
    for (const { settings } of mounts) {
      const upstream = { ...settings, new_root_delay: '4s' };
      const issuer = { x509_svid_ttl: svidTtl, upstream };
      const daemon = await createDaemon({ entries: ENTRIES, settings: { issuer } });
      daemons.push(daemon);
      await daemon.start();
    }
    const [a, b] = daemons;
    assert.ok(a && b);
    const replace = (node: number) => mounts[node]?.replace(SECOND);
    return { a, b, replace };
  }

  it('sign SVIDs that the bundle of the other verifies', async (t) => {
    const { a, b } = await twoNodes(t, '1h');
    await using _a = a;
    await using _b = b;
    const [ofA, ofB] = [await a.fetchX509(), await b.fetchX509()];
    const serials = new Set<string>();
    for (const [svids, others] of [
      [ofA, ofB],
      [ofB, ofA],
    ] as const) {
      for (const uri of [SERVER, CLIENT]) {
        const chain = join(folder, 'chain.pem');
        const roots = join(folder, 'roots.pem');
        writeFileSync(chain, svidOf(svids, uri).cert);
        writeFileSync(roots, svidOf(others, uri).bundle);
        openssl(['verify', '-x509_strict', '-CAfile', roots, '-untrusted', chain, chain]);
        serials.add(openssl(['x509', '-noout', '-serial', '-in', chain]));
      }
    }
    assert.equal(serials.size, 4);
  });

  it('change over to a new root, one later than the other, without a failed request', async (t) => {
    const { a, b, replace } = await twoNodes(t, '6s');
    await using _a = a;
    await using _b = b;
    const place = await findPlace(a.socketPath);
    await using pair = await startPair(place, { clientSocket: b.socketPath });
    await using load = startWatchedLoad(pair);
    const bundles = async () =>
      Promise.all([a, b].map(async (daemon) => await daemon.admin('/bundle')));
    const before = await bundles();
    replace(0);
    await eventually(async () => (await bundles())[0] !== before[0], { what: 'the new root' });
    // The other node's kubelet is slower.
    await delay(2000);
    replace(1);

    const rootsOf = (bundle = '') =>
      (JSON.parse(bundle) as { x509_authorities: readonly string[] }).x509_authorities.length;
    await eventually(async () => (await bundles()).every((bundle) => rootsOf(bundle) === 2), {
      what: 'both roots in both bundles',
    });
    await eventually(async () => (await bundles()).every((bundle) => rootsOf(bundle) === 1), {
      what: 'the end of the old root',
      timeoutMs: 60_000,
    });
    await load.look();
    const { failures, answered } = await load.stop();
    assert.deepEqual(failures, []);
    assert.ok(answered > 500, `${answered} answers`);
    for (const daemon of [a, b]) {
      const chain = join(folder, 'new-chain.pem');
      const roots = join(folder, 'new-root.pem');
      writeFileSync(chain, svidOf(await daemon.fetchX509(), CLIENT).cert);
      writeFileSync(roots, newRoot.cert);
      openssl(['verify', '-x509_strict', '-CAfile', roots, '-untrusted', chain, chain]);
      const { authorities } = JSON.parse(await daemon.admin('/status')) as {
        authorities: readonly { slot: string }[];
      };
      assert.deepEqual(
        authorities.map(({ slot }) => slot),
        ['root', 'active'],
      );
      assert.equal(await daemon.metric('credence_issuer_upstream_reloads_total', /applied/), 1);
    }
  });
});
