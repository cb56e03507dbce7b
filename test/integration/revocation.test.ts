import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { readCrl } from '../../src/identity/crl.ts';
import { certificateOf } from '../support/answers.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { eventually } from '../support/eventually.ts';
import { openSdsStream, type SdsResponse } from '../support/sds-stream.ts';
import { decodeSecret } from '../support/secrets.ts';
import { credence } from '../support/transcript.ts';
import { foreignCas, mountSecret } from '../support/upstream.ts';

const WEB = 'spiffe://example.org/web';
const run = (app: TestApp, args: string) =>
  credence(['revoke', ...args.split(' ').filter(Boolean), '--admin-socket', app.adminPath]);
const only = ({ resources: [resource] }: SdsResponse) =>
  decodeSecret(resource?.value ?? assert.fail('no secret'));
const bundleOf = async (app: TestApp) =>
  JSON.parse(await app.get('/bundle')) as { sequence: number; crls?: string[] };

describe('credence revoke', () => {
  it('gives the holder another SVID and every reader of the bundle the CRLs', async () => {
    await using app = await startApp({ entries: [{ spiffe_id: WEB }] });
    using svids = openSdsStream(app.socketPath, ['default']);
    using roots = openSdsStream(app.socketPath, ['ROOTCA']);
    await eventually(() => svids.responses.length + roots.responses.length === 2, { what: 'both' });
    const [first] = svids.responses;
    assert.ok(first);
    const before = await bundleOf(app);
    const { serial } = certificateOf(only(first));

    const { code, out, err } = await run(app, `--serial ${serial} --reason keyCompromise`);
    assert.deepEqual([code, err], [0, '']);
    assert.match(
      out,
      new RegExp(`^revoked ${serial.toLowerCase()} of ${WEB}, which ends at .*Z\n$`),
    );
    await eventually(() => svids.responses.length === 2 && roots.responses.length === 2, {
      what: 'another SVID and another bundle',
    });
    assert.notEqual(certificateOf(only(svids.responses[1] ?? first)).serial, serial);
    const secret = only(roots.responses[1] ?? first);
    assert.ok(secret.kind === 'spiffe bundle');
    assert.match(secret.domains['example.org'] ?? '', /BEGIN X509 CRL/);

    const after = await bundleOf(app);
    assert.ok(after.sequence > before.sequence);
    const listed = (after.crls ?? []).flatMap((crl) => readCrl(Buffer.from(crl, 'base64')).revoked);
    assert.deepEqual(
      listed.map((one) => [one.serial, one.reason]),
      [[serial.toLowerCase(), 1]],
    );
    const metrics = await app.get('/metrics');
    assert.match(metrics, /^credence_issuer_revoked_certificates 1$/m);
    assert.match(
      metrics,
      /^credence_issuer_crl_next_update_timestamp_seconds\{quantile="min"\} 1/m,
    );
    assert.deepEqual([svids.ended(), roots.ended()], [undefined, undefined]);
  });

  it('takes all of an identity, and says as JSON what became of it', async () => {
    await using app = await startApp({ entries: [{ spiffe_id: WEB }] });
    using svids = openSdsStream(app.socketPath, ['default']);
    await eventually(() => svids.responses.length === 1, { what: 'an SVID' });
    const { code, out } = await run(app, `--spiffe-id ${WEB} --json`);
    assert.equal(code, 0);
    const document = JSON.parse(out) as {
      revoked: { spiffe_id: string }[];
      unknown_serial: boolean;
    };
    assert.deepEqual(
      [document.revoked.map(({ spiffe_id: id }) => id), document.unknown_serial],
      [[WEB], false],
    );
  });

  it('says that it knows nothing of a serial, and revokes it all the same', async () => {
    await using app = await startApp({});
    const { code, out, err } = await run(app, '--serial 4F:0A');
    assert.equal(code, 0);
    assert.match(out, /^revoked 4f0a, listed until /);
    assert.match(err, /note: nothing is known of this serial number/);
    assert.equal((await bundleOf(app)).crls?.length, 2);
  });

  it('refuses what it cannot do, and what it does not understand', async () => {
    await using app = await startApp({});
    const none = await run(app, `--spiffe-id ${WEB}x`);
    assert.equal(none.code, 1);
    assert.match(none.err, /no SVID of spiffe:\/\/example\.org\/webx is known/);
    assert.match(none.err, /hint: credence revoke --serial/);
    for (const wrong of [
      '',
      `--serial 4f --spiffe-id ${WEB}`,
      '--serial xyz',
      '--spiffe-id web',
      '--serial 4f --reason certificateHold',
    ]) {
      assert.equal((await run(app, wrong)).code, 64, wrong);
    }
    assert.equal((await bundleOf(app)).crls, undefined);
  });

  const { folder, make } = foreignCas();
  it('is refused where the root is of somebody else', async () => {
    const root = make({ name: 'root' });
    const ca = make({ name: 'issuing', issuer: root });
    const secret = mountSecret(join(folder, 'ca'), { ...ca, bundle: root.cert });
    await using app = await startApp({ settings: { issuer: { upstream: secret.settings } } });
    const { serialNumber } = new X509Certificate(ca.cert);
    const { code, err } = await run(app, `--serial ${serialNumber}`);
    assert.equal(code, 1);
    assert.match(err, /a CRL of the root is needed too, and its key is not here/);
    assert.equal((await bundleOf(app)).crls, undefined);
  });
});
