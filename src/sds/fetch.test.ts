import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { describe, it } from 'node:test';
import { status, type ServerUnaryCall, type StatusObject } from '@grpc/grpc-js';
import { Registry } from 'prom-client';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import {
  entitlement,
  fakeBundle,
  fakeCaller,
  fakeSvid,
  OWN,
  WEB,
} from '../../test/support/identities.ts';
import { FakeLogger } from '../../test/support/issuer.ts';
import { decodeResponse, type DecodedResponse } from '../../test/support/secrets.ts';
import { IdentityError } from '../core/errors.ts';
import type { Caller } from '../identity/caller.ts';
import { createAdmission } from './admission.ts';
import { createBundleGauge } from './bundle-gauge.ts';
import type { Incoming } from './codec.ts';
import type { SdsContext, SdsReader } from './context.ts';
import { fetchSecrets } from './fetch.ts';
import type { DiscoveryRequest } from './messages.ts';
import { createSdsMetrics, type Limit } from './metrics.ts';
import { createRefusals } from './refusals.ts';
import { createSecretEncoder } from './resources.ts';
import { stateOfTheWorld } from './state-of-the-world.ts';

/** One process that may fetch; `signed` says whether its SVID is there. */
function daemon() {
  const log = new FakeLogger();
  const clock = new FakeClock();
  const caller = fakeCaller();
  const identities = [entitlement(WEB)];
  const reached: Limit[] = [];
  const state = {
    signed: true,
    attested: Promise.resolve<Caller>(caller),
    reader: undefined as SdsReader | undefined,
    attached: 0,
  };
  const context: SdsContext = {
    config: {
      aliases: { svid: 'default', bundle: 'ROOTCA', allBundles: 'ALL' },
      spiffeCertValidation: true,
      pendingTimeoutMs: 5000,
      deniedParkMs: 30_000,
    },
    attach(who, reader) {
      state.reader = reader;
      state.attached++;
      const svid = fakeSvid(WEB);
      return {
        caller: who,
        grant: () => ({
          identities,
          byId: new Map([[WEB, identities[0] ?? assert.fail()]]),
          trustDomains: [OWN],
        }),
        svid: () => ({
          current: () => (state.signed ? { svid, renewAtMs: 0, dueAtMs: undefined } : undefined),
          failure: () => undefined,
        }),
        bundle: () => fakeBundle(OWN),
        keep: () => undefined,
        close: () => state.attached--,
      };
    },
    encoder: createSecretEncoder(),
    refusals: createRefusals(),
    bundleGauge: createBundleGauge({ current: () => undefined, onError: assert.ifError }),
    inTurn: (_, look) => void look(),
    namesPerStream: 2000,
    admission: createAdmission(
      {
        connections: 10,
        connectionsPerUid: 10,
        connectionsPerPid: 10,
        streams: 10,
        names: 1000,
        requestsPerSecond: 100,
      },
      clock,
      (limit) => void reached.push(limit),
    ),
    clock,
    metrics: createSdsMetrics(new Registry(), () => undefined),
    log,
    closing: new AbortController().signal,
    nextNonce: () => 'n',
  };
  const fetch = (...resourceNames: string[]) => {
    const outcome: { answer?: DecodedResponse; end?: readonly [string, string | undefined] } = {};
    const request = { versionInfo: '', typeUrl: '', responseNonce: '', resourceNames };
    const call = Object.assign(new EventEmitter(), { request: { kind: 'request', request } });
    void fetchSecrets(
      call as unknown as ServerUnaryCall<Incoming<DiscoveryRequest>, Buffer>,
      (error, bytes) => {
        if (bytes) outcome.answer = decodeResponse(bytes);
        const ended: Partial<StatusObject> | null = error;
        if (ended) outcome.end = [status[ended.code ?? 0] ?? '', ended.details];
      },
      { id: 'peer-1', credentials: caller.credentials, caller: () => state.attested },
      stateOfTheWorld('credence/test'),
      context,
    );
    return { call, outcome };
  };
  return { clock, caller, state, log, fetch, reached };
}

describe('fetchSecrets()', () => {
  it('answers what is there and lets go of it', async () => {
    const { fetch, state, clock } = daemon();
    const { outcome } = fetch('default', 'ROOTCA');
    await settle();
    assert.deepEqual(
      outcome.answer?.secrets.map(({ name }) => name),
      ['default', 'ROOTCA'],
    );
    assert.deepEqual([outcome.answer.nonce, state.attached, clock.timers], ['', 0, 0]);
  });

  it('waits for a first SVID', async () => {
    const { fetch, state } = daemon();
    state.signed = false;
    const { outcome } = fetch('default');
    await settle();
    assert.deepEqual(outcome, {});
    state.signed = true;
    state.reader?.refresh();
    await settle();
    assert.equal(outcome.answer?.secrets.length, 1);
    assert.equal(state.attached, 0);
  });

  it('says what it waited for in vain', async () => {
    const { fetch, state, clock } = daemon();
    state.signed = false;
    const { outcome } = fetch('default', 'ROOTCA');
    await clock.advance(5000);
    assert.deepEqual(outcome.end, ['UNAVAILABLE', 'default is being signed']);
    assert.equal(state.attached, 0);
  });

  it('counts the time to wait from the end of the attestation', async () => {
    const { fetch, state, clock, caller } = daemon();
    let attest: (who: Caller) => void = () => undefined;
    state.attested = new Promise((resolve) => (attest = resolve));
    state.signed = false;
    const { outcome } = fetch('default');
    await clock.advance(4000);
    attest(caller);
    await clock.advance(4999);
    assert.deepEqual(outcome, {});
    await clock.advance(1);
    assert.deepEqual(outcome.end, ['UNAVAILABLE', 'default is being signed']);
  });

  it('does not wait for attestation without an end', async () => {
    const { fetch, state, clock } = daemon();
    state.attested = new Promise(() => undefined);
    const { outcome } = fetch('default');
    await clock.advance(5000);
    assert.deepEqual(outcome.end, ['UNAVAILABLE', 'the process has not been attested yet']);
  });

  it('lets go of everything when the call is cancelled', async () => {
    const { fetch, state, clock, log } = daemon();
    state.signed = false;
    const { call, outcome } = fetch('default');
    await settle();
    assert.equal(state.attached, 1);
    Object.assign(call, { cancelled: true });
    call.emit('cancelled');
    await settle();
    assert.deepEqual([state.attached, clock.timers], [0, 0]);
    assert.deepEqual([outcome, log.lines], [{}, []]);
  });

  it('gives nothing to a process that ended while it waited', async () => {
    const { fetch, state, caller } = daemon();
    state.signed = false;
    const [told, untold] = [fetch('default'), fetch('default')];
    await settle();
    caller.kill();
    state.signed = true;
    state.reader?.refresh();
    await settle();
    assert.equal(untold.outcome.end?.[0], 'UNAVAILABLE');
    assert.equal(told.outcome.answer, undefined);
    const third = fetch('default');
    await settle();
    assert.equal(third.outcome.end?.[0], 'UNAVAILABLE');
  });

  it('ends when it is told that the process is gone', async () => {
    const { fetch, state } = daemon();
    state.signed = false;
    const { outcome } = fetch('default');
    await settle();
    state.reader?.gone(new IdentityError('ERR_PEER_GONE', 'pid 1 ended'));
    await settle();
    assert.equal(outcome.end?.[0], 'UNAVAILABLE');
    assert.equal(state.attached, 0);
  });

  it('refuses all names for one that is refused', async () => {
    const { fetch } = daemon();
    const { outcome } = fetch('default', 'sds://x');
    await settle();
    assert.equal(outcome.end?.[0], 'PERMISSION_DENIED');
    assert.equal(outcome.answer, undefined);
  });

  it('counts the names of those that wait, until they end', async () => {
    const { fetch, state, clock, reached } = daemon();
    state.attested = new Promise(() => undefined);
    const names = (who: string) => Array.from({ length: 200 }, (_, n) => `${who}-${n}`);
    const waiting = [fetch(...names('a')), fetch(...names('b'))];
    await settle();
    const { outcome } = fetch(...names('c'));
    await settle();
    assert.equal(outcome.end?.[0], 'RESOURCE_EXHAUSTED');
    assert.match(outcome.end[1] ?? '', /has 400 names/);
    assert.deepEqual(reached, ['names']);
    await clock.advance(5000);
    assert.ok(waiting.every(({ outcome: { end } }) => end?.[0] === 'UNAVAILABLE'));
    const again = fetch(...names('d'));
    await settle();
    assert.deepEqual(again.outcome, {});
  });
});
