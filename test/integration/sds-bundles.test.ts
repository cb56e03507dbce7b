import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { only } from '../support/answers.ts';
import { startApp } from '../support/app.ts';
import { connectProxy } from '../support/sds-proxy.ts';

const SWITCH = 'disable_spiffe_cert_validation';

function node(metadata?: object) {
  const fields = metadata === undefined ? {} : { metadata: { fields: { [SWITCH]: metadata } } };
  return { id: 'proxy', cluster: 'c', ...fields };
}

describe('the form of bundles', { timeout: 60_000 }, () => {
  // What SPIRE's agent does with the same key (bool and the texts Go takes for one; else ignored).
  const table: readonly (readonly [config: boolean, metadata: object | undefined, kind: string])[] =
    [
      [true, undefined, 'spiffe bundle'],
      [true, { boolValue: true }, 'plain bundle'],
      [true, { stringValue: 'true' }, 'plain bundle'],
      [true, { boolValue: false }, 'spiffe bundle'],
      [true, { stringValue: 'test' }, 'spiffe bundle'],
      [true, { numberValue: 1 }, 'spiffe bundle'],
      [false, undefined, 'plain bundle'],
      [false, { stringValue: 'true' }, 'plain bundle'],
      [false, { stringValue: 'false' }, 'spiffe bundle'],
      [false, { boolValue: false }, 'spiffe bundle'],
      [false, { stringValue: 'test' }, 'plain bundle'],
      [false, { numberValue: 0 }, 'plain bundle'],
    ];
  for (const config of [true, false]) {
    it(`is the configured one (${config}) unless the proxy says otherwise`, async () => {
      await using app = await startApp({ settings: { sds: { spiffe_cert_validation: config } } });
      using proxy = connectProxy(app.socketPath);
      for (const [configured, metadata, kind] of table) {
        if (configured !== config) continue;
        const stream = proxy.stream();
        stream.send({ resource_names: ['ROOTCA'], node: node(metadata) });
        assert.equal(only(await stream.next()).kind, kind, JSON.stringify(metadata));
        // The node need not be repeated.
        stream.ack('spiffe://example.org');
        assert.equal(only(await stream.next()).kind, kind, JSON.stringify(metadata));
        stream.cancel();
      }
    });
  }

  it('refuses ALL in plain form, which does not keep domains apart', async () => {
    await using app = await startApp();
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.send({ resource_names: ['ALL'], node: node({ boolValue: true }) });
    const { code, details } = await stream.ending();
    assert.equal(code, 'PERMISSION_DENIED');
    assert.match(details, /ALL needs the SPIFFE validator/);
  });

  it('keeps other names for the aliases, ALL for the plain own bundle among them', async () => {
    const sds = {
      default_svid_name: 'me',
      default_bundle_name: 'ALL',
      default_all_bundles_name: 'everybody',
      spiffe_cert_validation: false,
    };
    await using app = await startApp({ settings: { sds } });
    using proxy = connectProxy(app.socketPath);
    const response = await proxy.fetch({ resource_names: ['me', 'ALL'] });
    assert.deepEqual(
      response.secrets.map(({ name, kind }) => [name, kind]),
      [
        ['me', 'certificate'],
        ['ALL', 'plain bundle'],
      ],
    );
  });
});
