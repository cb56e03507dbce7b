import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { findPlace, readBootstrap } from '../support/bootstrap-file.ts';
import { runCredence } from '../support/credence-command.ts';
import { createDaemon, entryForMe } from '../support/daemon.ts';
import { startEnvoy } from '../support/envoy.ts';
import { eventually } from '../support/eventually.ts';
import { CLIENT, SERVER, startPair } from '../support/pair.ts';

interface Compared {
  readonly envoy_admin: {
    readonly pid: number;
    readonly in_sync: boolean;
    readonly certificates: readonly {
      readonly spiffe_id: string;
      readonly in_use: readonly { readonly serial: string; readonly not_after: string }[];
    }[];
  };
}

describe('credence status --envoy-admin', () => {
  it('proves a rotation with what a real Envoy has in use before and after', async () => {
    await using daemon = await createDaemon({
      svidTtl: '16s',
      entries: [SERVER, CLIENT].map(entryForMe),
    });
    await daemon.start();
    const place = await findPlace(daemon.socketPath);
    await using pair = await startPair(place);
    const admin = ['--admin-socket', join(dirname(daemon.socketPath), 'admin.sock')];

    for (const [envoy, uri, port] of [
      [pair.server, SERVER, 'serverAdmin'],
      [pair.client, CLIENT, 'clientAdmin'],
    ] as const) {
      const args = ['status', ...admin, '--envoy-admin', `127.0.0.1:${place.port(port)}`];
      /** In sync, and with which serial; undefined while a push is on its way. */
      const look = async () => {
        const { out, code, err } = await runCredence([...args, '--json']);
        assert.notEqual(out, '', err);
        const { envoy_admin: seen } = JSON.parse(out) as Compared;
        assert.equal(code, seen.in_sync ? 0 : 1);
        assert.equal(seen.pid, envoy.pid);
        const [certificate, ...others] = seen.certificates;
        assert.deepEqual([certificate?.spiffe_id, others], [uri, []]);
        const serial = certificate?.in_use[0]?.serial;
        return seen.in_sync && serial !== undefined && serial;
      };
      const before = await eventually(look, { what: `${uri} is in sync` });
      const after = await eventually(
        async () => {
          const serial = await look();
          return serial !== before && serial;
        },
        { what: `${uri} is in sync after a rotation`, timeoutMs: 20_000 },
      );
      // What `/certs` itself says, in one moment or a little later.
      const leaf = await envoy.leaf(uri);
      assert.ok(leaf && leaf.serial.replace(/^0+/, '') !== before);
      assert.notEqual(after, before);
      const text = await runCredence(args);
      assert.match(text.out, new RegExp(`^Envoy at \\S+ is pid ${envoy.pid}, node `));
    }
  });

  it('raises an alarm for a certificate that stands where roots belong', async () => {
    await using daemon = await createDaemon({ entries: [entryForMe(SERVER)] });
    await daemon.start();
    const place = await findPlace(daemon.socketPath);
    const wrong = new Map([...place.replacements, ['spiffe://example.org', SERVER]] as const);
    await using envoy = await startEnvoy({
      bootstrap: await readBootstrap('server', wrong),
      name: 'server',
    });
    await envoy.waitLive();
    const admin = ['--admin-socket', join(dirname(daemon.socketPath), 'admin.sock')];
    const address = `127.0.0.1:${place.port('serverAdmin')}`;
    const compared = await runCredence(['status', ...admin, '--envoy-admin', address]);
    assert.equal(compared.code, 1, compared.err);
    assert.match(compared.out, new RegExp(`^  ALARM ${SERVER}: stands where roots belong `, 'm'));
    assert.match(compared.out, /^NOT in sync$/m);
    const plain = await runCredence(['status', ...admin]);
    assert.match(
      plain.out,
      new RegExp(`^  ${SERVER} is asked for more than once and no roots`, 'm'),
    );
  });
});
