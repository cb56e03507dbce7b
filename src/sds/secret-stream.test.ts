import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { describe, it } from 'node:test';
import { Metadata, status, type ServerDuplexStream, type StatusObject } from '@grpc/grpc-js';
import { Registry } from 'prom-client';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import {
  API,
  entitlement,
  fakeBundle,
  fakeCaller,
  fakeSvid,
  OWN,
  PARTNER,
  WEB,
} from '../../test/support/identities.ts';
import { FakeLogger } from '../../test/support/issuer.ts';
import { decodeResponse, type DecodedResponse } from '../../test/support/secrets.ts';
import { IdentityError } from '../core/errors.ts';
import type { TrustBundle } from '../identity/bundle.ts';
import type { Caller } from '../identity/caller.ts';
import type { Entitlement } from '../identity/entitlement.ts';
import { parseSpiffeId, type SpiffeId, type TrustDomain } from '../identity/spiffe-id.ts';
import { createAdmission } from './admission.ts';
import type { Incoming } from './codec.ts';
import type { DiscoveryRequest } from './messages.ts';
import { createSdsMetrics } from './metrics.ts';
import { createRefusals } from './refusals.ts';
import type { HeldSvid } from './resolve.ts';
import { createSecretEncoder } from './resources.ts';
import type { SdsContext, SdsReader, SdsSource } from './context.ts';
import { SecretStream } from './secret-stream.ts';
import { stateOfTheWorld } from './state-of-the-world.ts';

/** The server's end of a stream, and what a proxy at the other end would see. */
class FakeCall extends EventEmitter {
  readonly metadata = new Metadata();
  readonly responses: DecodedResponse[] = [];
  ended: Partial<StatusObject> | 'normally' | undefined;
  /** Makes the reader stop: nothing that is written gets through before `resume`. */
  stopped = false;
  #written: (() => void)[] = [];

  constructor() {
    super();
    this.on('error', (error: Partial<StatusObject>) => (this.ended ??= error));
  }

  write(bytes: Buffer, done: () => void): boolean {
    this.responses.push(decodeResponse(bytes));
    this.#written.push(done);
    if (!this.stopped) this.resume();
    return !this.stopped;
  }

  resume(): void {
    this.stopped = false;
    for (const done of this.#written.splice(0)) setImmediate(done);
  }

  end(): void {
    this.ended ??= 'normally';
  }

  get last(): DecodedResponse {
    const last = this.responses.at(-1);
    assert.ok(last, 'no response');
    return last;
  }

  /** Code and text that the stream ended with. */
  get refusal(): readonly [code: string | undefined, details: string | undefined] {
    assert.ok(this.ended && this.ended !== 'normally', 'the stream was not refused');
    return [status[this.ended.code ?? 0], this.ended.details];
  }
}

/** A process and what it may have now; each change has to be told with `refresh`. */
function daemon(config: Partial<SdsContext['config']> = {}) {
  const clock = new FakeClock();
  const log = new FakeLogger();
  const registry = new Registry();
  const caller = fakeCaller(7);
  const held = new Map<SpiffeId, HeldSvid>();
  const bundles = new Map<TrustDomain, TrustBundle>([[OWN, fakeBundle(OWN)]]);
  const state = {
    identities: [entitlement(WEB)] as readonly Entitlement[],
    trustDomains: [OWN] as readonly TrustDomain[],
    failure: undefined as IdentityError | undefined,
    kept: [] as string[],
    closed: 0,
    attested: Promise.resolve<Caller>(caller),
  };
  held.set(WEB, { svid: fakeSvid(WEB), renewAtMs: 0, dueAtMs: undefined });
  const readers = new Set<SdsReader>();
  const rotated: number[] = [];
  let nonces = 0;
  const attach = (who: Caller, reader: SdsReader): SdsSource => {
    readers.add(reader);
    return {
      caller: who,
      grant: () => ({
        ...state,
        byId: new Map(state.identities.map((identity) => [identity.id, identity])),
      }),
      svid: ({ id }) => ({ current: () => held.get(id), failure: () => state.failure }),
      bundle: (domain) => bundles.get(domain),
      keep: (ids) => void (state.kept = [...ids]),
      close() {
        readers.delete(reader);
        state.closed++;
      },
    };
  };
  const context: SdsContext = {
    config: {
      aliases: { svid: 'default', bundle: 'ROOTCA', allBundles: 'ALL' },
      spiffeCertValidation: true,
      pendingTimeoutMs: 5000,
      deniedParkMs: 30_000,
      ...config,
    },
    attach,
    encoder: createSecretEncoder(),
    refusals: createRefusals(),
    namesPerStream: 2000,
    admission: createAdmission(
      { connections: 1000, connectionsPerUid: 10, streams: 100, requestsPerSecond: 100 },
      clock,
    ),
    clock,
    metrics: createSdsMetrics(registry, (ms) => rotated.push(ms)),
    log,
    closing: new AbortController().signal,
    nextNonce: () => `n${++nonces}`,
  };
  return {
    ...{ clock, log, caller, held, bundles, state, readers, rotated, registry },
    refresh: async () => {
      for (const reader of [...readers]) reader.refresh();
      await settle();
    },
    renew: (id: SpiffeId, serial: string, dueAtMs?: number) =>
      void held.set(id, { svid: fakeSvid(id, { serial }), renewAtMs: 0, dueAtMs }),
    open: () => {
      const call = new FakeCall();
      const connection = {
        id: 'peer-1',
        credentials: caller.credentials,
        caller: () => state.attested,
      };
      const codec = stateOfTheWorld('credence/test');
      const stream = new SecretStream<DiscoveryRequest>(
        call as unknown as ServerDuplexStream<Incoming<DiscoveryRequest>, Buffer>,
        connection,
        codec,
        context,
        () => undefined,
      );
      const send = async (more: Partial<DiscoveryRequest>) => {
        const request = { versionInfo: '', typeUrl: '', responseNonce: '', resourceNames: [] };
        call.emit('data', { kind: 'request', request: { ...request, ...more } });
        await settle();
      };
      const ask = (...resourceNames: string[]) => send({ resourceNames });
      const ack = (...resourceNames: string[]) =>
        send({ responseNonce: call.last.nonce, versionInfo: call.last.version, resourceNames });
      const nack = (text: string, ...resourceNames: string[]) =>
        send({
          responseNonce: call.last.nonce,
          resourceNames,
          errorDetail: { code: 13, message: text },
        });
      return { call, stream, send, ask, ack, nack };
    },
  };
}

describe('SecretStream', () => {
  it('answers the first request and stays silent after the acknowledgement', async () => {
    const { open, refresh } = daemon();
    const { call, ask, ack } = open();
    await ask('default');
    assert.deepEqual(
      call.last.secrets.map(({ name, kind }) => [name, kind]),
      [['default', 'certificate']],
    );
    assert.ok(call.last.version && call.last.nonce);
    await ack('default');
    await refresh();
    assert.equal(call.responses.length, 1);
  });

  it('pushes a renewed SVID without being asked, once, and says how late', async () => {
    const { open, renew, refresh, clock, rotated } = daemon();
    const { call, ask } = open();
    await ask('default');
    const before = call.last;
    renew(WEB, '02', clock.now() - 40);
    await refresh();
    await refresh();
    assert.equal(call.responses.length, 2);
    assert.notEqual(call.last.version, before.version);
    assert.notEqual(call.last.nonce, before.nonce);
    assert.deepEqual(rotated, [40]);
  });

  it('pushes only the names that changed', async () => {
    const { open, bundles, refresh } = daemon();
    const { call, ask } = open();
    await ask('default', 'ROOTCA');
    assert.equal(call.last.secrets.length, 2);
    bundles.set(OWN, fakeBundle(OWN, 2));
    await refresh();
    assert.deepEqual(
      call.last.secrets.map(({ name }) => name),
      ['ROOTCA'],
    );
  });

  it('does not send anything for a refusal, nor the same content ever again', async () => {
    const { open, renew, refresh, log } = daemon();
    const proxy = open();
    await proxy.ask('default');
    await proxy.ack('default');
    renew(WEB, '02');
    await refresh();
    await proxy.nack('Failed to load\nprivate key', 'default');
    await refresh();
    assert.equal(proxy.call.responses.length, 2);
    const [secret] = proxy.stream.snapshot().resources;
    assert.equal(secret?.acknowledged, proxy.call.responses[0]?.version);
    assert.equal(secret?.rejected?.text, 'Failed to load\nprivate key');
    const line = log.lines.find(({ level }) => level === 'warn');
    assert.equal(line?.fields.detail, 'Failed to load?private key');
    renew(WEB, '03');
    await refresh();
    assert.equal(proxy.call.responses.length, 3);
  });

  it('answers a name that a refusal changes', async () => {
    const { open } = daemon();
    const { call, ask, nack } = open();
    await ask('default');
    await nack('no', 'ROOTCA');
    assert.deepEqual(
      call.last.secrets.map(({ name }) => name),
      ['ROOTCA'],
    );
  });

  it('answers changed names at once and a name asked for again anew', async () => {
    const { open } = daemon();
    const { call, ask, ack } = open();
    await ask('default');
    await ack('ROOTCA');
    assert.equal(call.last.secrets[0]?.name, 'ROOTCA');
    await ack('ROOTCA', 'default');
    assert.deepEqual(
      call.last.secrets.map(({ name }) => name),
      ['default'],
    );
  });

  it('ignores a request with a bogus nonce', async () => {
    const { open, renew, refresh } = daemon();
    const { call, ask, send } = open();
    await ask('default');
    await send({ responseNonce: 'bogus', resourceNames: ['ROOTCA'] });
    renew(WEB, '02');
    await refresh();
    assert.deepEqual(
      call.responses.flatMap(({ secrets }) => secrets.map(({ name }) => name)),
      ['default', 'default'],
    );
  });

  it('remembers the node of the first request for the form of later answers', async () => {
    const { open, bundles, refresh } = daemon();
    const { call, send, ack } = open();
    const node = {
      ...{ id: 'a', cluster: 'b', userAgentName: '', userAgentVersion: undefined },
      disableSpiffeCertValidation: true,
    };
    await send({ resourceNames: ['ROOTCA'], node });
    assert.deepEqual(
      call.last.secrets.map(({ kind }) => kind),
      ['plain bundle'],
    );
    await ack('ROOTCA');
    bundles.set(OWN, fakeBundle(OWN, 2));
    await refresh();
    assert.deepEqual(
      call.responses.map(({ secrets }) => secrets[0]?.kind),
      ['plain bundle', 'plain bundle'],
    );
  });

  it('waits for the first SVID, then answers', async () => {
    const { open, held, renew, refresh, clock } = daemon();
    held.clear();
    const { call, ask, stream } = open();
    await ask('default');
    assert.deepEqual(stream.snapshot().waiting, ['default is being signed']);
    await clock.advance(4999);
    renew(WEB, '01');
    await refresh();
    assert.equal(call.responses.length, 1);
    await clock.advance(60_000);
    assert.equal(call.ended, undefined);
    assert.equal(clock.timers, 0);
  });

  it('ends with the latest reason when it waited in vain', async () => {
    const { open, held, state, refresh, clock } = daemon();
    held.clear();
    const { call, ask } = open();
    await ask('default');
    await clock.advance(1000);
    state.failure = new IdentityError('ERR_ISSUER', 'the disk /var is full');
    await refresh();
    await clock.advance(4000);
    assert.deepEqual(call.refusal, ['UNAVAILABLE', 'default could not be signed yet']);
  });

  it('sends what there is while another name is waited for', async () => {
    const { open, state, clock } = daemon();
    state.trustDomains = [OWN, PARTNER];
    const { call, ask } = open();
    await ask('default', 'spiffe://partner.example');
    assert.deepEqual(
      call.last.secrets.map(({ name }) => name),
      ['default'],
    );
    await clock.advance(5000);
    assert.deepEqual(call.refusal, [
      'UNAVAILABLE',
      'no trust bundle of partner.example is known yet',
    ]);
  });

  it('sends each of many names once it is signed, and counts the time from the last', async () => {
    const { open, state, held, renew, refresh, clock } = daemon();
    const ids = ['a', 'b', 'c'].map((name) => parseSpiffeId(`spiffe://example.org/${name}`));
    state.identities = ids.map((id) => entitlement(id));
    held.clear();
    const { call, ask, stream } = open();
    await ask(...ids);
    for (const id of ids.slice(0, 2)) {
      await clock.advance(4000);
      renew(id, '01');
      await refresh();
      assert.deepEqual(
        call.last.secrets.map(({ name }) => name),
        [id],
      );
    }
    assert.deepEqual(stream.snapshot().waiting, [`${ids[2]} is being signed`]);
    await clock.advance(4999);
    assert.equal(call.ended, undefined);
    await clock.advance(1);
    assert.deepEqual(call.refusal, ['UNAVAILABLE', `${ids[2]} is being signed`]);
  });

  it('takes neither a renewal nor another name for progress', async () => {
    const { open, state, renew, refresh, clock } = daemon();
    state.trustDomains = [OWN, PARTNER];
    const { call, ask, ack } = open();
    await ask('default', 'spiffe://partner.example');
    await clock.advance(3000);
    renew(WEB, '02');
    await refresh();
    await ack('default', 'spiffe://partner.example', 'ROOTCA');
    assert.equal(call.responses.length, 3);
    await clock.advance(2000);
    assert.equal(call.refusal[0], 'UNAVAILABLE');
  });

  it('does not end a reader that stood still when what it waits for is there', async () => {
    const { open, state, renew, refresh, clock } = daemon();
    state.identities = [entitlement(WEB), entitlement(API)];
    const { call, ask } = open();
    call.stopped = true;
    await ask('default', API);
    renew(API, '01');
    await refresh();
    await clock.advance(60_000);
    assert.equal(call.ended, undefined);
    call.resume();
    await settle();
    assert.equal(call.last.secrets[0]?.name, API);
    assert.equal(clock.timers, 0);
  });

  it('ends a reader that stood still 5 s after it goes on, if that is still not there', async () => {
    const { open, state, bundles, refresh, clock } = daemon();
    state.identities = [entitlement(WEB), entitlement(API)];
    const { call, ask } = open();
    call.stopped = true;
    await ask('default', 'ROOTCA', API);
    bundles.set(OWN, fakeBundle(OWN, 2));
    await refresh();
    await clock.advance(60_000);
    call.resume();
    await settle();
    await clock.advance(4999);
    assert.equal(call.ended, undefined);
    await clock.advance(1);
    assert.deepEqual(call.refusal, ['UNAVAILABLE', `${API} is being signed`]);
  });

  it('ends when attestation takes too long, and gives the result up', async () => {
    const { open, state, clock, readers, caller } = daemon();
    let attest: (who: Caller) => void = () => undefined;
    state.attested = new Promise((resolve) => (attest = resolve));
    const { call, ask } = open();
    await ask('default');
    await clock.advance(5000);
    assert.deepEqual(call.refusal, ['UNAVAILABLE', 'the process has not been attested yet']);
    attest(caller);
    await settle();
    assert.equal(readers.size, 0);
  });

  it('ends with a reason that tells nothing when attestation fails', async () => {
    const { open, state } = daemon();
    state.attested = Promise.reject(new Error('EACCES /proc/7/status'));
    const { call, ask } = open();
    await ask('default');
    assert.equal(call.refusal[0], 'UNAVAILABLE');
    assert.ok(!call.refusal[1]?.includes('/proc'));
  });

  it('refuses a name once, parks it the second time and refuses it again', async () => {
    const { open, clock, registry } = daemon();
    const first = open();
    await first.ask(API);
    assert.deepEqual(first.call.refusal, [
      'PERMISSION_DENIED',
      `no policy entry for this process grants ${API}`,
    ]);
    const second = open();
    await second.ask(API);
    assert.equal(second.call.ended, undefined);
    assert.equal(second.stream.snapshot().waiting.length, 1);
    await clock.advance(29_999);
    assert.equal(second.call.ended, undefined);
    await clock.advance(1);
    assert.equal(second.call.refusal[0], 'PERMISSION_DENIED');
    const denied = await registry.getSingleMetricAsString('credence_policy_denied_total');
    assert.match(denied, /reason="no_entry"\} 2$/m);
  });

  it('sends a grant that arrives to a parked stream at once', async () => {
    const { open, state, renew, refresh, clock } = daemon();
    await open().ask(API);
    const { call, ask } = open();
    await ask(API);
    await clock.advance(20_000);
    state.identities = [entitlement(WEB), entitlement(API)];
    renew(API, '01');
    await refresh();
    assert.equal(call.last.secrets[0]?.name, API);
    await clock.advance(60_000);
    assert.equal(call.ended, undefined);
  });

  it('parks one name no longer because another one was granted meanwhile', async () => {
    const { open, state, renew, refresh, clock } = daemon();
    const other = 'spiffe://example.org/other';
    for (const name of [API, other]) await open().ask(name);
    const { call, ask } = open();
    await ask(API, other);
    await clock.advance(20_000);
    state.identities = [entitlement(API)];
    renew(API, '01');
    await refresh();
    assert.equal(call.last.secrets[0]?.name, API);
    await clock.advance(10_000);
    assert.deepEqual(call.refusal, [
      'PERMISSION_DENIED',
      `no policy entry for this process grants ${other}`,
    ]);
  });

  it('gives a granted name its own time to be signed after it was parked', async () => {
    const { open, state, held, refresh, clock } = daemon();
    await open().ask(API);
    const { call, ask } = open();
    await ask(API);
    await clock.advance(29_000);
    state.identities = [entitlement(API)];
    held.clear();
    await refresh();
    await clock.advance(4999);
    assert.equal(call.ended, undefined);
    await clock.advance(1);
    assert.deepEqual(call.refusal, ['UNAVAILABLE', `${API} is being signed`]);
  });

  it('does not park when that is switched off, nor what no policy could grant', async () => {
    const off = daemon({ deniedParkMs: 0 });
    const on = daemon();
    for (let n = 0; n < 2; n++) {
      const denied = off.open();
      await denied.ask(API);
      assert.equal(denied.call.refusal[0], 'PERMISSION_DENIED');
      const unknown = on.open();
      await unknown.ask('sds://x');
      assert.equal(unknown.call.refusal[0], 'PERMISSION_DENIED');
    }
    const denied = await on.registry.getSingleMetricAsString('credence_policy_denied_total');
    assert.match(denied, /reason="unknown_name"\} 2$/m);
  });

  it('sends the good names of a parked stream', async () => {
    const { open } = daemon();
    await open().ask('default', API);
    const { call, ask } = open();
    await ask('default', API);
    assert.deepEqual(
      call.last.secrets.map(({ name }) => name),
      ['default'],
    );
    assert.equal(call.ended, undefined);
  });

  it('ends a stream at once that lost its entitlement', async () => {
    const { open, state, refresh } = daemon();
    await open().ask(API);
    const { call, ask } = open();
    await ask('default');
    state.identities = [];
    await refresh();
    assert.deepEqual(call.refusal, [
      'PERMISSION_DENIED',
      'no policy entry for this process grants default',
    ]);
  });

  it('lists for everything what there is, and follows the grant', async () => {
    const { open, state, renew, refresh } = daemon();
    const { call, ask } = open();
    await ask();
    assert.deepEqual(
      call.last.secrets.map(({ name }) => name),
      ['spiffe://example.org', WEB],
    );
    state.identities = [entitlement(WEB), entitlement(API)];
    renew(API, '01');
    await refresh();
    assert.deepEqual(
      call.last.secrets.map(({ name }) => name),
      [API],
    );
    state.identities = [];
    await refresh();
    assert.equal(call.ended, undefined);
    assert.deepEqual(state.kept, []);
  });

  it('writes one response at a time and the newest state to a reader that was stopped', async () => {
    const { open, renew, refresh } = daemon();
    const { call, ask } = open();
    call.stopped = true;
    await ask('default');
    for (let n = 2; n < 100; n++) {
      renew(WEB, `${n}`);
      await refresh();
    }
    assert.equal(call.responses.length, 1);
    call.resume();
    await settle();
    assert.equal(call.responses.length, 2);
    const [secret] = call.last.secrets;
    assert.ok(secret?.kind === 'certificate');
    assert.equal(secret.chain, Buffer.from(fakeSvid(WEB, { serial: '99' }).chainPem).toString());
  });

  it('holds only the identities that are asked for', async () => {
    const { open, state } = daemon();
    const { ask, ack } = open();
    await ask('default', 'ROOTCA');
    assert.deepEqual(state.kept, [WEB]);
    await ack('ROOTCA');
    assert.deepEqual(state.kept, []);
  });

  it('writes nothing to a process that is not alive any more', async () => {
    const { open, caller, renew, refresh } = daemon();
    const { call, ask } = open();
    await ask('default');
    renew(WEB, '02');
    caller.kill();
    await refresh();
    assert.equal(call.responses.length, 1);
    assert.equal(call.refusal[0], 'UNAVAILABLE');
  });

  it('ends when it is told that the process is gone', async () => {
    const { open, state } = daemon();
    const { call, ask, stream } = open();
    await ask('default');
    stream.gone(new IdentityError('ERR_PEER_GONE', 'pid 7 ended'));
    assert.equal(call.refusal[0], 'UNAVAILABLE');
    assert.equal(state.closed, 1);
  });

  for (const [how, finish] of [
    ['half-closes', 'end'],
    ['resets', 'cancelled'],
    ['vanishes', 'close'],
  ] as const) {
    it(`lets go of everything when the proxy ${how}, and reads no more`, async () => {
      const { open, held, state, clock, refresh } = daemon();
      held.clear();
      const { call, ask } = open();
      await ask('default');
      assert.equal(clock.timers, 1);
      call.emit(finish);
      assert.deepEqual([state.closed, clock.timers], [1, 0]);
      await ask('ROOTCA');
      await refresh();
      call.emit('close');
      assert.deepEqual([state.closed, call.responses.length], [1, 0]);
    });
  }

  it('ends with INVALID_ARGUMENT for what is no request', async () => {
    const { open } = daemon();
    const malformed = open();
    const error = new IdentityError('ERR_BAD_REQUEST', 'not a protobuf message');
    malformed.call.emit('data', { kind: 'malformed', error });
    assert.deepEqual(malformed.call.refusal, ['INVALID_ARGUMENT', 'not a protobuf message']);
    const wrong = open();
    await wrong.send({ typeUrl: 'type.googleapis.com/other', resourceNames: ['default'] });
    assert.equal(wrong.call.refusal[0], 'INVALID_ARGUMENT');
  });

  it('ends a flood of requests, and lets as many acknowledgements pass as there are pushes', async () => {
    const { open, renew, refresh } = daemon();
    const calm = open();
    await calm.ask('default');
    for (let n = 2; n < 500; n++) {
      renew(WEB, `${n}`);
      await refresh();
      await calm.ack('default');
    }
    assert.equal(calm.call.ended, undefined);
    const flood = open();
    await flood.ask('default');
    for (let n = 0; n < 500 && !flood.call.ended; n++) {
      await flood.ack(n % 2 === 0 ? 'ROOTCA' : 'default');
    }
    assert.equal(flood.call.refusal[0], 'RESOURCE_EXHAUSTED');
  });

  it('keeps a fault of its own to itself and its message from the peer', async () => {
    const { open, held, log } = daemon();
    const broken = { ...fakeSvid(WEB), chainPem: Buffer.alloc(0) };
    held.set(WEB, { svid: broken, renewAtMs: 0, dueAtMs: undefined });
    const { call, ask } = open();
    await ask('default');
    assert.deepEqual(call.refusal, ['INTERNAL', 'credence failed to answer, see its log']);
    assert.equal(log.count('error', 'stream ended'), 1);
  });

  it('writes no more about hostile names than fits a line', async () => {
    const { open, log } = daemon();
    const { call, ask } = open();
    const names = Array.from({ length: 2000 }, (_, n) => `spiffe://example.org/${n}`);
    await ask(...names, 'x'.repeat(2000));
    assert.ok((call.refusal[1]?.length ?? 0) <= 512);
    for (const line of log.lines) assert.ok(JSON.stringify(line).length < 12_000);
  });
});
