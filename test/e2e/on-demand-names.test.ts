import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { findPlace } from '../support/bootstrap-file.ts';
import { greet } from '../support/client-hello.ts';
import { createDaemon, entryForMe } from '../support/daemon.ts';
import type { Envoy } from '../support/envoy.ts';
import { eventually } from '../support/eventually.ts';
import { onDemand, startOnDemand } from '../support/on-demand.ts';
import { SERVER } from '../support/pair.ts';

/** What a stranger can send that no policy makes the name of a certificate. */
const NO_NAMES = [
  '*',
  '*.example.org',
  ' ',
  'a\nb',
  '\u0001\u007f',
  'spiffe://example.org/a b',
  'spiffe://example.org/%73erver',
  'spiffe://example.org/\u00e4',
  'file-cert:/etc/tls',
];
/** What is not even the name of a host (RFC 6066 3, RFC 1035 2.3.4). */
const NO_HOSTS = ['', 'a\0b', `${SERVER}\0`, 'a'.repeat(256)];
/** What the field of a protobuf message for text cannot hold; the second is half a pair of UTF-16. */
const NO_TEXTS = [Buffer.of(0xff), Buffer.of(0xed, 0xa0, 0x80)];

describe('server names on demand that are no names', { concurrency: true }, () => {
  it('ends the handshake at once and keeps nothing, also of `*`', async (t) => {
    const { daemon, envoy, port } = await serve(t);
    // Others are not affected, and what is sent here is in order apart from the name.
    assert.equal(await greet(port, Buffer.from(SERVER)), 'goes on');
    const streams = await daemon.metric('credence_sds_streams');
    const requested = await onDemand(envoy, 'cert_requested');
    for (const [n, name] of NO_NAMES.entries()) {
      assert.equal(await greet(port, Buffer.from(name)), 'handshake_failure', name);
      assert.equal(await daemon.metric('credence_policy_denied_total', /unknown_name/), n + 1);
    }
    assert.equal(await onDemand(envoy, 'cert_requested'), requested + NO_NAMES.length);
    await eventually(async () => (await daemon.metric('credence_sds_streams')) === streams, {
      what: 'no stream is left',
    });
    assert.equal(await onDemand(envoy, 'cert_active'), 2);
    assert.equal(await outOfPatience(envoy), 0);
    assert.match(daemon.log(), /"resource_names":\["\*"\].*"msg":"secret refused"/);
    const { proxies } = await daemon.status();
    const shown = proxies.flatMap(({ streams }) => streams).flatMap(({ secrets }) => secrets);
    assert.deepEqual(new Set(shown.map(({ name }) => name)), new Set([ROOTS, SERVER]));
  });

  it('hears nothing of what Envoy itself refuses', async (t) => {
    const { envoy, port } = await serve(t);
    const asked = await envoy.stat('cluster.credence.upstream_rq_total');
    for (const name of NO_HOSTS) {
      assert.equal(await greet(port, Buffer.from(name)), 'unrecognized_name', name);
    }
    assert.equal(await envoy.stat('cluster.credence.upstream_rq_total'), asked);
  });

  it('cannot say that bytes are absent, and serves others beside them', async (t) => {
    const { daemon, envoy, port } = await serve(t);
    const malformed = () => daemon.metric('credence_sds_stream_errors_total', /ERR_BAD_REQUEST/);
    const hanging = Promise.all(NO_TEXTS.map((name) => greet(port, name)));
    await eventually(async () => (await malformed()) > NO_TEXTS.length, { what: 'repetitions' });
    assert.equal(await greet(port, Buffer.from(SERVER)), 'goes on');
    assert.deepEqual(
      await hanging,
      NO_TEXTS.map(() => 'closed without a word'),
    );
    assert.equal(await outOfPatience(envoy), NO_TEXTS.length);
    // An answer would have to repeat the bytes, which Envoy sends and does not read: it asks on.
    const before = await malformed();
    await eventually(async () => (await malformed()) > before, { what: 'one more' });
    assert.equal(await greet(port, Buffer.from(SERVER)), 'goes on');
  });
});

const ROOTS = 'spiffe://example.org';

/** A daemon, an Envoy that asks it on demand, and the port where callers choose the name. */
async function serve(t: TestContext) {
  const daemon = await createDaemon({ entries: [entryForMe(SERVER)] });
  t.after(() => daemon[Symbol.asyncDispose]());
  await daemon.start();
  const place = await findPlace(daemon.socketPath);
  const envoy = await startOnDemand(place);
  t.after(() => envoy[Symbol.asyncDispose]());
  return { daemon, envoy, port: place.port('bySni') };
}

/** Handshakes that waited for a certificate until Envoy gave up. */
async function outOfPatience(envoy: Envoy): Promise<number> {
  const stats = await envoy.stats(/^listener\..*\.downstream_cx_transport_socket_connect_timeout$/);
  return [...stats.values()].reduce((sum, value) => sum + value, 0);
}
