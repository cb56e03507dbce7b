import assert from 'node:assert/strict';
import { createHash, createPublicKey, X509Certificate } from 'node:crypto';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { IdentityError } from '../../src/core/errors.ts';
import type { Issuer } from '../../src/issuer/issuer.ts';
import { startApp, type Entry, type StatusStream, type TestApp } from '../support/app.ts';
import { startChild } from '../support/child.ts';
import { eventually } from '../support/eventually.ts';
import { connectProxy } from '../support/sds-proxy.ts';
import type { DecodedResponse } from '../support/secrets.ts';

const WEB = 'spiffe://example.org/web';
const API = 'spiffe://example.org/api';
const entries: readonly Entry[] = [{ spiffe_id: WEB }];
/** SVIDs that are renewed four times a second. */
const FAST = { issuer: { x509_svid_ttl: '5s' }, rotation: { fraction: 0.05, jitter: 0 } };

function certificate(response: DecodedResponse | undefined) {
  const secret = response?.secrets[0];
  assert.ok(secret?.kind === 'certificate', secret?.kind);
  const spki = createPublicKey(secret.key).export({ type: 'spki', format: 'der' });
  return {
    serial: new X509Certificate(secret.chain).serialNumber,
    key: createHash('sha256').update(spki).digest('hex'),
  };
}

async function streamsOf(app: TestApp): Promise<StatusStream[]> {
  return (await app.status()).proxies.flatMap(({ streams }) => streams);
}

async function metric(app: TestApp, line: RegExp): Promise<number> {
  const found = line.exec(await app.get('/metrics'));
  return Number(found?.[1]);
}

/** An issuer that fails while `fault` is set. */
function fragile() {
  const state: { fault: Error | undefined; mints: number } = { fault: undefined, mints: 0 };
  const decorateIssuer = (issuer: Issuer): Issuer => ({
    ...issuer,
    async mint(request, options) {
      state.mints++;
      if (state.fault) throw state.fault;
      return issuer.mint(request, options);
    },
  });
  return { state, decorateIssuer };
}

describe('keys and processes', { timeout: 60_000 }, () => {
  it('gives a process that reconnects the same SVID and key, another process never', async () => {
    await using app = await startApp({ entries });
    const fetched = [];
    for (let n = 0; n < 2; n++) {
      using proxy = connectProxy(app.socketPath);
      const stream = proxy.stream();
      stream.ask('default');
      fetched.push(certificate(await stream.next()));
      stream.cancel();
    }
    assert.deepEqual(fetched[0], fetched[1]);
    const script = fileURLToPath(new URL('../support/sds-child.ts', import.meta.url));
    await using child = await startChild(process.execPath, [
      ...['--import', 'tsx', script],
      app.socketPath,
    ]);
    await eventually(() => child.ended(), { what: 'the other process ends' });
    const other = JSON.parse(child.log()) as { serial: string; key: string };
    assert.notEqual(other.serial, fetched[0]?.serial);
    assert.notEqual(other.key, fetched[0]?.key);
  });

  it('counts an SVID that may not leave as an error, not as issued', async () => {
    const decorateIssuer = (issuer: Issuer): Issuer => ({
      ...issuer,
      mint: async (request, options) => {
        const [svid, other] = [
          await issuer.mint(request, options),
          await issuer.mint(request, options),
        ];
        return { ...svid, key: other.key };
      },
    });
    await using app = await startApp({ entries, deps: { decorateIssuer } });
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.ask('default');
    const count = (result: string) =>
      metric(app, new RegExp(`^credence_issuer_x509_svids_total{result="${result}"} (\\d+)$`, 'm'));
    await eventually(async () => (await count('error')) > 0, { what: 'the mint is withheld' });
    assert.equal(await count('issued'), 0);
    assert.deepEqual(stream.responses, []);
  });

  it('signs once for all streams of a process', async () => {
    const { state, decorateIssuer } = fragile();
    await using app = await startApp({ entries, deps: { decorateIssuer } });
    using proxy = connectProxy(app.socketPath);
    const streams = Array.from({ length: 50 }, () => proxy.stream());
    for (const stream of streams) stream.ask('default');
    const serials = new Set<string>();
    for (const stream of streams) serials.add(certificate(await stream.next()).serial);
    assert.deepEqual([serials.size, state.mints], [1, 1]);
  });
});

describe('rotation', { timeout: 60_000 }, () => {
  it('pushes each renewed SVID once and leaves what did not change alone', async () => {
    await using app = await startApp({ entries, settings: FAST });
    using proxy = connectProxy(app.socketPath);
    const [svid, bundle] = [proxy.stream(), proxy.stream()];
    bundle.ask('ROOTCA');
    await bundle.next();
    bundle.ack();
    svid.ask('default');
    const seen: { serial: string; key: string; version: string }[] = [];
    for (let n = 0; n < 5; n++) {
      const response = await svid.next();
      seen.push({ ...certificate(response), version: response.version });
      svid.ack();
    }
    for (const what of ['serial', 'key', 'version'] as const) {
      assert.equal(new Set(seen.map((one) => one[what])).size, 5, what);
    }
    assert.equal(bundle.responses.length, 1);
    const lag = await metric(app, /^credence_rotation_lag_seconds_count (\d+)$/m);
    assert.ok(lag >= 4);
  });

  it('keeps the valid SVID while signing fails, and ends with a reason once it ran out', async () => {
    const { state, decorateIssuer } = fragile();
    await using app = await startApp({
      entries,
      settings: { ...FAST, sds: { pending_timeout: '200ms' } },
      deps: { decorateIssuer },
    });
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.ask('default');
    const { serial } = certificate(await stream.next());
    state.fault = new IdentityError('ERR_ISSUER', 'the disk /var/lib is full');
    // Another stream of the process gets the one that is still valid.
    await eventually(() => state.mints >= 3, { what: 'renewals fail' });
    using second = connectProxy(app.socketPath);
    assert.ok(certificate(await second.fetch({ resource_names: ['default'] })).serial);
    const { code, details } = await stream.ending();
    assert.deepEqual([code, details], ['UNAVAILABLE', 'default could not be signed yet']);
    assert.ok(serial);
  });

  it('parks a first SVID that cannot be signed, and sends it when it can', async () => {
    const { state, decorateIssuer } = fragile();
    state.fault = new IdentityError('ERR_ISSUER', 'no CA');
    await using app = await startApp({ entries, deps: { decorateIssuer } });
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.ask('default');
    await eventually(async () => /could not/.test((await streamsOf(app))[0]?.waiting[0] ?? ''), {
      what: 'the failure shows in the status',
    });
    state.fault = undefined;
    assert.ok(certificate(await stream.next()));
  });

  it('signs for nobody once nobody asks', async () => {
    const { state, decorateIssuer } = fragile();
    await using app = await startApp({ entries, settings: FAST, deps: { decorateIssuer } });
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.ask('default');
    for (let n = 0; n < 2; n++) await stream.next();
    stream.cancel();
    // Held no longer than until its renewal would be due.
    await eventually(async () => (await app.status()).rotation.held_svids === 0, {
      what: 'the SVID is dropped',
    });
    const { mints } = state;
    using other = connectProxy(app.socketPath);
    await other.fetch({ resource_names: ['ROOTCA'] });
    assert.equal(state.mints, mints);
  });
});

describe('refusals by a proxy', { timeout: 60_000 }, () => {
  it('shows its words, keeps the good version and does not send the bad one again', async () => {
    await using app = await startApp({ entries });
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.ask('ROOTCA');
    const good = await stream.next();
    stream.ack('ROOTCA', 'default');
    const bad = await stream.next();
    stream.nack('Failed to load private key', 'ROOTCA', 'default');
    const secret = await eventually(
      async () => (await streamsOf(app))[0]?.secrets.find(({ refused }) => refused),
      { what: 'the refusal shows' },
    );
    assert.equal(secret.name, 'default');
    assert.deepEqual(secret.refused, { version: bad.version, text: 'Failed to load private key' });
    const [kept] = (await streamsOf(app))[0]?.secrets ?? [];
    assert.deepEqual([kept?.name, kept?.acknowledged], ['ROOTCA', good.version]);
    assert.equal(await metric(app, /^credence_sds_pushes_total\{.*"sotw",.*"nack"\} (\d+)$/m), 1);
    const [line] = app.log.lines.filter(({ message }) => message === 'proxy refused an update');
    assert.deepEqual([line?.level, line?.fields.detail], ['warn', 'Failed to load private key']);
    // A change of the policy makes it look again; nothing is to be sent.
    await app.setPolicy([{ spiffe_id: WEB, priority: 1 }, { spiffe_id: API }]);
    await eventually(async () => (await app.status()).policy.entries === 2, {
      what: 'the policy is loaded',
    });
    stream.nack('again', 'ROOTCA', 'default', API);
    assert.equal((await stream.next()).secrets[0]?.name, API);
    assert.equal(stream.responses.length, 3);
  });

  it('sends the next version after one was refused', async () => {
    await using app = await startApp({ entries, settings: FAST });
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.ask('default');
    await stream.next();
    stream.nack('no');
    const { version } = await stream.next();
    stream.ack();
    await eventually(
      async () =>
        (await streamsOf(app))[0]?.secrets.some(({ acknowledged }) => acknowledged === version),
      { what: 'the new one counts' },
    );
  });
});
