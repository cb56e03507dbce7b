// Two Envoys of two users, which only root can start. Both ask for `default`.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findPlace, readBootstrap } from '../support/bootstrap-file.ts';
import { createDaemon, entryForUid } from '../support/daemon.ts';
import { startEnvoy } from '../support/envoy.ts';
import { httpGet } from '../support/http-client.ts';
import { CLIENT, SERVER } from '../support/pair.ts';

describe('two Envoys of two users', () => {
  it('are told apart by what the kernel says, not by what they ask for (E3)', async () => {
    assert.equal(process.getuid?.(), 0, 'this test starts Envoy as two users: run it as root');
    const [serverUid, clientUid] = [64_001, 64_002];
    await using daemon = await createDaemon({
      entries: [entryForUid(SERVER, serverUid), entryForUid(CLIENT, clientUid)],
    });
    await daemon.start();
    const place = await findPlace(daemon.socketPath);
    // Both ask for `default`.
    await using server = await startEnvoy({
      bootstrap: await readBootstrap(
        'server',
        new Map([...place.replacements, [SERVER, 'default']]),
      ),
      uid: serverUid,
      name: 'server',
    });
    await using client = await startEnvoy({
      bootstrap: await readBootstrap(
        'client',
        new Map([...place.replacements, [CLIENT, 'default']]),
      ),
      uid: clientUid,
      name: 'client',
    });
    await Promise.all([server.waitLive(), client.waitLive()]);

    const { status, headers } = await httpGet(place.port('client'));
    assert.equal(status, 200);
    assert.match(
      String(headers['x-forwarded-client-cert']),
      new RegExp(`^By=${SERVER};Hash=[0-9a-f]{64};URI=${CLIENT}$`),
    );
    assert.equal(await server.leaf(CLIENT), undefined);
    assert.equal(await client.leaf(SERVER), undefined);
  });
});
