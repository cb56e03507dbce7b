import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { startApp, type Status, type TestApp } from '../support/app.ts';
import { eventually } from '../support/eventually.ts';
import { openSdsStream } from '../support/sds-stream.ts';
import { credence } from '../support/transcript.ts';

const WEB = 'spiffe://example.org/web';

interface EnvoyAdmin {
  /** What it answers to `/certs` from now on. */
  answer: { code: number; body: unknown };
  /** The same of `/config_dump`. */
  dump: { code: number; body: unknown };
}

/** Envoy's admin interface, with what an Envoy would not say as well. */
async function startEnvoyAdmin(t: TestContext): Promise<EnvoyAdmin & { address: string }> {
  const admin: EnvoyAdmin = {
    answer: { code: 200, body: {} },
    dump: { code: 403, body: {} },
  };
  const server = createServer(({ url = '' }, response) => {
    const other = url.startsWith('/config_dump?') ? admin.dump : { code: 500, body: {} };
    const { code, body } = url === '/certs' ? admin.answer : other;
    response.writeHead(code).end(JSON.stringify(body));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return Object.assign(admin, { address });
}

/** A `/certs` with one TLS context that has this leaf. */
const certs = (serial_number: string, expiration_time: string, roots = 1) => ({
  certificates: [
    {
      ca_cert: Array.from({ length: roots }, () => ({})),
      cert_chain: [{ serial_number, expiration_time, subject_alt_names: [{ uri: WEB }] }],
    },
  ],
});

type Sent = Status['proxies'][number]['streams'][number]['secrets'][number];

/** What was sent to this process and accepted. */
function accepted(app: TestApp): Promise<Sent & { serial: string; not_after: string }> {
  return eventually(
    async () => {
      const { proxies } = await app.status();
      const secret = proxies[0]?.streams[0]?.secrets[0];
      const { serial, not_after, sent, acknowledged } = secret ?? {};
      return serial && not_after && sent === acknowledged && { ...secret, serial, not_after };
    },
    { what: 'the first secret is accepted' },
  ) as Promise<Sent & { serial: string; not_after: string }>;
}

describe('credence status --envoy-admin', () => {
  it('compares what Envoy has in use with what the daemon sent', async (t) => {
    await using app = await startApp({ entries: [{ spiffe_id: WEB }] });
    const envoy = await startEnvoyAdmin(t);
    using _stream = openSdsStream(app.socketPath, [WEB]);
    const { serial, not_after } = await accepted(app);
    const socket = join(dirname(app.socketPath), 'admin.sock');
    const status = (...args: string[]) =>
      credence(['status', '--admin-socket', socket, '--envoy-admin', envoy.address, ...args]);

    envoy.answer.body = certs(serial, not_after);
    const same = await status();
    assert.deepEqual([same.code, same.err], [0, ''], same.out);
    assert.match(same.out, new RegExp(`^Envoy at ${envoy.address} is pid ${process.pid}, `));
    assert.match(
      same.out,
      new RegExp(`^ {2}${WEB}: in sync, serial ${serial.replace(/^0+/, '')} `, 'm'),
    );

    const document = JSON.parse((await status('--json')).out) as Status & {
      envoy_admin: { in_sync: boolean; pid: number };
    };
    assert.deepEqual([document.envoy_admin.in_sync, document.envoy_admin.pid], [true, process.pid]);
    assert.equal(document.proxies.length, 1);

    envoy.answer.body = certs('abc', '2020-01-01T00:00:00Z');
    const old = await status();
    assert.equal(old.code, 1);
    assert.match(
      old.out,
      /: DIFFERS, Envoy still has serial abc, EXPIRED since 2020-01-01T00:00:00Z$/m,
    );
    assert.equal((await status('--pid', String(process.pid), '--json')).code, 1);
    const other = await status('--pid', '1');
    assert.deepEqual([other.code, other.out], [1, '']);
    assert.match(other.err, /pid 1 is not connected\nhint: connected are \d+\n$/);

    envoy.answer.body = certs(serial, not_after, 0);
    const oneWay = await status();
    assert.equal(oneWay.code, 0);
    assert.match(oneWay.out, /^ {2}note: spiffe:\/\/example\.org\/web: ca_cert is empty/m);
    assert.match(
      oneWay.out,
      /^ {2}note: whether a certificate .*: \S+ answers 403 to \/config_dump/m,
    );
    envoy.dump = { code: 200, body: {} };
    assert.doesNotMatch((await status()).out, /note: whether/);
    using _roots = openSdsStream(app.socketPath, ['ROOTCA']);
    const bare = await eventually(
      async () => {
        const ran = await status();
        return ran.code === 1 && ran;
      },
      { what: 'the roots were sent' },
    );
    assert.match(bare.out, /^ {2}ALARM spiffe:\/\/example\.org\/web: ca_cert is empty/m);
  });

  it('says plainly that it cannot be asked', async (t) => {
    await using app = await startApp();
    const envoy = await startEnvoyAdmin(t);
    const socket = join(dirname(app.socketPath), 'admin.sock');
    for (const [code, body, said] of [
      [403, {}, /answers 403 to \/certs: it is a restricted admin endpoint\nhint: allow \/certs: /],
      [404, {}, /answers 404 to \/certs: it is a restricted admin endpoint\nhint: allow \/certs: /],
      [200, ['\x1b[2J'], /is not Envoy's admin interface/],
    ] as const) {
      envoy.answer = { code, body };
      const ran = await credence([
        ...['status', '--admin-socket', socket, '--envoy-admin', envoy.address],
      ]);
      assert.deepEqual([ran.code, ran.out], [69, '']);
      assert.match(ran.err, said);
    }
  });
});
