import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findPlace } from '../support/bootstrap-file.ts';
import { createDaemon, entryForMe, type Daemon } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { CLIENT, SERVER, startPair, startWatchedLoad } from '../support/pair.ts';

const ENTRIES = [SERVER, CLIENT].map(entryForMe);
const ROTATIONS = 10;
const LIVES = { ca_ttl: '20s', root_ttl: '60s', x509_svid_ttl: '6s' };

interface Authority {
  readonly level: string;
  readonly slot: string;
  readonly id: string;
  readonly tainted: boolean;
}

async function authoritiesOf(daemon: Daemon): Promise<readonly Authority[]> {
  const text = await daemon.command('ca', 'status', '--json');
  return (JSON.parse(text) as { authorities: Authority[] }).authorities;
}

const idOf = async (daemon: Daemon, slot: string) =>
  (await authoritiesOf(daemon)).find((one) => one.slot === slot)?.id ?? '';

/** How often an authority of the level began to sign. */
const rotations = (daemon: Daemon, level: string) =>
  daemon.metric(
    'credence_issuer_ca_rotations_total',
    new RegExp(`level="${level}",step="activate"`),
  );

describe('authorities that rotate under load', () => {
  it(`rotates the CA ${ROTATIONS} times, and roots, without one failed request (E19, E26)`, async (t) => {
    await using daemon = await createDaemon({ entries: ENTRIES, settings: { issuer: LIVES } });
    await daemon.start();
    await using pair = await startPair(await findPlace(daemon.socketPath));
    await using load = startWatchedLoad(pair);
    const hopeless = () => load.expired() ?? daemon.died();
    const before = await rotations(daemon, 'issuing');
    const rootsBefore = await rotations(daemon, 'root');

    await eventually(
      async () => {
        await load.look();
        return (await rotations(daemon, 'issuing')) >= before + ROTATIONS;
      },
      { what: `the CA rotates ${ROTATIONS} times`, timeoutMs: 300_000, hopeless },
    );
    const roots = (await rotations(daemon, 'root')) - rootsBefore;
    const { sent, answered, failures } = await load.stop();
    t.diagnostic(`${sent} requests, ${failures.length} failed, ${roots} roots`);
    assert.deepEqual(failures, []);
    assert.equal(answered, sent);
    assert.ok(roots >= 1, 'no root was replaced');
  });

  it('taints and revokes a CA and its root without one failed request', async (t) => {
    await using daemon = await createDaemon({ svidTtl: '1h', entries: ENTRIES });
    await daemon.start();
    await using pair = await startPair(await findPlace(daemon.socketPath));
    await using load = startWatchedLoad(pair);
    const hopeless = () => load.expired() ?? daemon.died();
    await load.look();
    const root = await idOf(daemon, 'root');

    await daemon.command('ca', 'taint', await idOf(daemon, 'active'));
    await eventually(
      async () => {
        await load.look();
        return [...load.serials.values()].every((serials) => serials.length >= 2);
      },
      { what: 'both ends have new SVIDs', hopeless },
    );

    await daemon.command('ca', 'taint', root);
    await eventually(
      async () => {
        await load.look();
        return [...load.serials.values()].every((serials) => serials.length >= 3);
      },
      { what: 'both ends have SVIDs below the new root', hopeless },
    );
    // Until no proxy uses what hangs on it.
    await eventually(() => daemon.command('ca', 'revoke', root), {
      what: 'the root goes',
      hopeless,
    });
    await eventually(
      async () => {
        const contexts = [...(await pair.server.certs()), ...(await pair.client.certs())];
        return contexts.every(({ roots }) => roots.length === 1);
      },
      { what: 'both ends trust the new root alone', hopeless },
    );
    const sentBefore = load.count().sent;
    await eventually(() => load.count().sent > sentBefore + 300, { what: 'load goes on' });
    const { sent, answered, failures } = await load.stop();
    t.diagnostic(`${sent} requests, ${failures.length} failed`);
    assert.deepEqual(failures, []);
    assert.equal(answered, sent);
    assert.notEqual(await idOf(daemon, 'root'), root);
  });
});
