import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { Metadata, status, type ServerDuplexStream, type StatusObject } from '@grpc/grpc-js';
import { Registry } from 'prom-client';
import { IdentityError } from '../../src/core/errors.ts';
import type { TrustBundle } from '../../src/identity/bundle.ts';
import type { Caller } from '../../src/identity/caller.ts';
import type { Entitlement } from '../../src/identity/entitlement.ts';
import type { SpiffeId, TrustDomain } from '../../src/identity/spiffe-id.ts';
import { createAdmission } from '../../src/sds/admission.ts';
import { createBundleGauge } from '../../src/sds/bundle-gauge.ts';
import type { Incoming } from '../../src/sds/codec.ts';
import type { SdsContext, SdsReader, SdsSource } from '../../src/sds/context.ts';
import type { DiscoveryRequest } from '../../src/sds/messages.ts';
import { createSdsMetrics } from '../../src/sds/metrics.ts';
import { createRefusals } from '../../src/sds/refusals.ts';
import type { HeldSvid } from '../../src/sds/resolve.ts';
import { createSecretEncoder } from '../../src/sds/resources.ts';
import { SecretStream } from '../../src/sds/secret-stream.ts';
import { stateOfTheWorld } from '../../src/sds/state-of-the-world.ts';
import { FakeClock, settle } from './fake-clock.ts';
import { entitlement, fakeBundle, fakeCaller, fakeSvid, OWN, WEB } from './identities.ts';
import { FakeLogger } from './issuer.ts';
import { decodeResponse, type DecodedResponse } from './secrets.ts';

/** The server's end of a stream, and what a proxy at the other end would see. */
class FakeCall extends EventEmitter {
  readonly metadata = new Metadata();
  readonly responses: DecodedResponse[] = [];
  ended: Partial<StatusObject> | 'normally' | undefined;
  /** Whether it has been answered at all, if only with headers. */
  begun = false;
  /** Makes the reader stop: nothing that is written gets through before `resume`. */
  stopped = false;
  #written: (() => void)[] = [];

  constructor() {
    super();
    this.on('error', (error: Partial<StatusObject>) => (this.ended ??= error));
  }

  sendMetadata(): void {
    assert.equal(this.begun, false, 'headers are sent once');
    this.begun = true;
  }

  write(bytes: Buffer, done: () => void): boolean {
    this.begun = true;
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
export function daemon(
  config: Partial<SdsContext['config']> = {},
  inTurn: SdsContext['inTurn'] = (_, look) => void look(),
) {
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
  const metrics = createSdsMetrics(registry, (ms) => rotated.push(ms));
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
  const bundleGauge = createBundleGauge({
    current: () => bundles.get(OWN),
    onError: (thrown) => log.error({ err: thrown }, 'a listener failed'),
  });
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
    bundleGauge,
    inTurn,
    namesPerStream: 2000,
    admission: createAdmission(
      {
        connections: 1000,
        connectionsPerUid: 10,
        connectionsPerPid: 10,
        streams: 100,
        names: 1000,
        requestsPerSecond: 100,
      },
      clock,
      (limit) => metrics.limited(limit),
    ),
    clock,
    metrics,
    log,
    closing: new AbortController().signal,
    nextNonce: () => `n${++nonces}`,
  };
  return {
    ...{ clock, log, caller, held, bundles, bundleGauge, state, readers, rotated, registry },
    refresh: async () => {
      for (const reader of [...readers]) reader.refresh();
      await settle();
    },
    renew: (id: SpiffeId, serial: string, dueAtMs?: number) =>
      void held.set(id, { svid: fakeSvid(id, { serial }), renewAtMs: 0, dueAtMs }),
    open: (id = 'peer-1') => {
      const call = new FakeCall();
      const connection = {
        id,
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
