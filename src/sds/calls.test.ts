import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import { describe, it } from 'node:test';
import { status, type ServerUnaryCall } from '@grpc/grpc-js';
import { Registry } from 'prom-client';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { fakeCaller } from '../../test/support/identities.ts';
import { FakeLogger } from '../../test/support/issuer.ts';
import { IdentityError } from '../core/errors.ts';
import { createAdmission } from './admission.ts';
import { createBundleGauge } from './bundle-gauge.ts';
import { Calls } from './calls.ts';
import type { Incoming } from './codec.ts';
import { Connections } from './connections.ts';
import type { DiscoveryRequest } from './messages.ts';
import { createSdsMetrics } from './metrics.ts';
import { createRefusals } from './refusals.ts';
import { createSecretEncoder } from './resources.ts';

/** Refusals that a process may collect at once before its connection is closed. */
const BURST = 1000;

/** One connection of a process that may send two requests at once. */
function connected() {
  const clock = new FakeClock();
  const log = new FakeLogger();
  const registry = new Registry();
  const metrics = createSdsMetrics(registry, () => undefined);
  const limits = { connections: 10, connectionsPerUid: 10, connectionsPerPid: 10 };
  const admission = createAdmission(
    { ...limits, streams: 100, names: 1000, requestsPerSecond: 1 },
    clock,
    (limit) => metrics.limited(limit),
  );
  const connections = new Connections({ admission, clock, log });
  const calls = new Calls('credence/test', connections, {
    config: {
      aliases: { svid: 'default', bundle: 'ROOTCA', allBundles: 'ALL' },
      ...{ spiffeCertValidation: true, pendingTimeoutMs: 5000, deniedParkMs: 0 },
    },
    attach: () => assert.fail('a refused call reads no identities'),
    encoder: createSecretEncoder(),
    refusals: createRefusals(),
    bundleGauge: createBundleGauge({ current: () => undefined, onError: assert.ifError }),
    inTurn: (_, look) => void look(),
    namesPerStream: 10,
    ...{ admission, clock, metrics, log },
    closing: new AbortController().signal,
    nextNonce: () => 'n',
  });
  const { credentials } = fakeCaller();
  const socket = new PassThrough();
  const caller = () => new Promise<never>(() => undefined);
  assert.ok(connections.add(socket, { id: 'peer-1', credentials, caller }));
  const ends: (string | undefined)[] = [];
  const error = new IdentityError('ERR_BAD_REQUEST', 'not a protobuf message');
  const fetch = () => {
    const call = Object.assign(new EventEmitter(), {
      request: { kind: 'malformed', error },
      getPeer: () => 'peer-1',
    });
    calls
      .handlers()
      .FetchSecrets(
        call as unknown as ServerUnaryCall<Incoming<DiscoveryRequest>, Buffer>,
        (ended) => ends.push(status[ended?.code ?? 0]),
      );
  };
  const limited = async (limit: string) => {
    const metric = await registry.getSingleMetric('credence_sds_limited_total')?.get();
    return metric?.values.find(({ labels }) => labels['limit'] === limit)?.value;
  };
  return { clock, socket, ends, fetch, limited, log };
}

describe('Calls', () => {
  it('closes the connection of a process that calls on after it was refused often', async () => {
    const { socket, ends, fetch, limited, log } = connected();
    for (let n = 0; n < 2 + BURST; n++) fetch();
    await settle();
    const served = ends.filter((end) => end === 'INVALID_ARGUMENT');
    assert.deepEqual([served.length, ends.length], [2, 2 + BURST]);
    assert.deepEqual([socket.destroyed, await limited('refusals')], [false, 0]);
    fetch();
    await settle();
    assert.deepEqual([socket.destroyed, await limited('refusals')], [true, 1]);
    assert.deepEqual(
      [ends.at(-1), log.count('warn', 'connection closed')],
      ['RESOURCE_EXHAUSTED', 1],
    );
  });

  it('keeps the connection of one whose refusals are spread over time', async () => {
    const { clock, socket, ends, fetch, limited } = connected();
    for (let second = 0; second < 30; second++) {
      for (let n = 0; n < 100; n++) fetch();
      await clock.advance(1000);
    }
    assert.equal(ends.length, 3000);
    assert.deepEqual([socket.destroyed, await limited('refusals')], [false, 0]);
  });
});
