import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import * as grpc from '@grpc/grpc-js';
import { fromJSON, type ServiceDefinition } from '@grpc/proto-loader';
import { Fleet, type FleetPlan } from '../../bench/client/fleet.ts';
import { SECRET_TYPE } from '../../bench/client/messages.ts';
import { createKernel } from '../../src/attestation/native.ts';
import descriptors from '../../src/gen/protos.json' with { type: 'json' };
import { eventually } from '../support/eventually.ts';

/** A request as the server's own library read it. */
interface Request {
  readonly version_info: string;
  readonly node: { id: string; extensions: unknown[]; user_agent_name: string } | null;
  readonly resource_names: string[];
  readonly type_url: string;
  readonly response_nonce: string;
  readonly error_detail: unknown;
}

interface Response {
  readonly version_info: string;
  readonly resources: { type_url: string; value: Buffer }[];
  readonly type_url: string;
  readonly nonce: string;
}

type Call = grpc.ServerDuplexStream<Request, Response>;

interface DeltaRequest {
  readonly node: { id: string; extensions: unknown[] } | null;
  readonly type_url: string;
  readonly resource_names_subscribe: string[];
  readonly resource_names_unsubscribe: string[];
  readonly response_nonce: string;
  readonly error_detail: unknown;
}

interface DeltaResponse {
  readonly resources: { name: string; version: string; resource: Response['resources'][number] }[];
  readonly removed_resources: string[];
  readonly type_url: string;
  readonly nonce: string;
}

type DeltaCall = grpc.ServerDuplexStream<DeltaRequest, DeltaResponse>;

const definitions = fromJSON(descriptors as Parameters<typeof fromJSON>[0], {
  keepCase: true,
  defaults: true,
});
const service = definitions['envoy.service.secret.v3.SecretDiscoveryService'] as ServiceDefinition;

/** A `Secret` by hand: name, then `arm` (2 certificate, 4 validation context) around some text. */
function secret(name: string, arm: number, text: string): Buffer {
  const field = (number: number, payload: Buffer): Buffer => {
    const { length } = payload;
    const size = [(length & 0x7f) | 0x80, ((length >> 7) & 0x7f) | 0x80, length >> 14];
    return Buffer.concat([Buffer.from([number * 8 + 2, ...size]), payload]);
  };
  return Buffer.concat([field(1, Buffer.from(name)), field(arm, field(1, Buffer.from(text)))]);
}

function response(name: string, nonce: number, value = secret(name, 2, 'x'.repeat(700))): Response {
  return {
    version_info: `v${nonce}`,
    resources: [{ type_url: SECRET_TYPE, value }],
    type_url: SECRET_TYPE,
    nonce: `nonce ${nonce}`,
  };
}

function deltaResponse(name: string, nonce: number, text = 'x'.repeat(700)): DeltaResponse {
  const resource = { type_url: SECRET_TYPE, value: secret(name, 2, text) };
  return {
    resources: [{ name, version: `v${nonce}`, resource }],
    removed_resources: [],
    type_url: SECRET_TYPE,
    nonce: `nonce ${nonce}`,
  };
}

describe('the bench client against a grpc-js server', { timeout: 30_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'credence-bench-'));
  const path = join(folder, 'api.sock');
  const server = new grpc.Server();
  const kernel = createKernel();
  let requests: Request[] = [];
  let peers = new Set<number>();
  let users = new Set<number>();
  const calls = new Set<Call>();
  let onFirst: (call: Call, name: string) => void;
  let deltaRequests: DeltaRequest[] = [];
  let onSubscribe: (call: DeltaCall, name: string) => void;
  const sockets = createServer((socket) => {
    const { pid, uid } = kernel.peerCredentials(descriptor(socket));
    peers.add(pid);
    users.add(uid);
    injector.injectConnection(socket);
  });
  server.addService(service, {
    StreamSecrets(call: Call): void {
      calls.add(call);
      call.on('close', () => calls.delete(call));
      call.on('error', () => undefined);
      call.on('data', (request: Request) => {
        requests.push(request);
        if (request.response_nonce === '') onFirst(call, request.resource_names[0] ?? '');
      });
      call.on('end', () => call.end());
    },
    DeltaSecrets(call: DeltaCall): void {
      call.on('error', () => undefined);
      call.on('data', (request: DeltaRequest) => {
        deltaRequests.push(request);
        for (const name of request.resource_names_subscribe) onSubscribe(call, name);
      });
      call.on('end', () => call.end());
    },
  });
  const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
  const plan = (more: Partial<FleetPlan> = {}): FleetPlan => ({
    path,
    count: 1,
    names: ['default', 'ROOTCA'],
    node: 'envoy',
    nodeInAcks: false,
    perProcess: 0,
    ...more,
  });
  const acks = (): Request[] => requests.filter(({ response_nonce }) => response_nonce !== '');
  /** Acknowledgements arrive after the client has told its owner of the secret. */
  async function untilAcked(count: number): Promise<Request[]> {
    await eventually(() => acks().length >= count, { what: `${count} answers` });
    return acks();
  }

  before(async () => {
    sockets.listen(path);
    await once(sockets, 'listening');
  });
  beforeEach(() => {
    requests = [];
    deltaRequests = [];
    onSubscribe = (call, name) => call.write(deltaResponse(name, 1));
    peers = new Set();
    users = new Set();
    onFirst = (call, name) => call.write(response(name, 1));
  });
  after(() => {
    server.forceShutdown();
    sockets.close();
    rmSync(folder, { recursive: true });
  });

  it('sends requests of 61 kB through windows of 64 kB and acknowledges with 100 bytes', async () => {
    await using fleet = await Fleet.create(plan());
    fleet.connect(1);
    await fleet.untilServed(1, 5000);
    const [first] = requests;
    assert.equal(first?.node?.extensions.length, 516);
    assert.equal(first.node.user_agent_name, 'envoy');
    assert.deepEqual([first.type_url, first.version_info], [SECRET_TYPE, '']);
    for (const ack of await untilAcked(2)) {
      const { version_info, response_nonce, node, error_detail } = ack;
      assert.deepEqual(
        { version_info, response_nonce, node, error_detail },
        { version_info: 'v1', response_nonce: 'nonce 1', node: null, error_detail: null },
      );
    }
    assert.deepEqual(
      acks()
        .map(({ resource_names }) => resource_names[0])
        .sort(),
      ['ROOTCA', 'default'],
    );
  });

  it('acknowledges each of many pushes, also those that fill several frames', async () => {
    await using fleet = await Fleet.create(plan({ nodeInAcks: true, names: ['default'] }));
    fleet.connect(1);
    await fleet.untilServed(1, 5000);
    const [call] = calls;
    for (let nonce = 2; nonce <= 9; nonce++) {
      const value = secret('default', 2, 'y'.repeat(nonce * 10_000));
      call?.write(response('default', nonce, value));
    }
    await fleet.untilDelivered(9, 5000);
    const nonces = (await untilAcked(9)).map(({ response_nonce }) => response_nonce);
    assert.deepEqual(
      nonces,
      [1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => `nonce ${n}`),
    );
    assert.equal(acks().at(-1)?.node?.extensions.length, 516);
  });

  it('subscribes once over Delta and acknowledges each push by its nonce alone', async () => {
    onSubscribe = (call, name) => {
      for (let nonce = 1; nonce <= 3; nonce++) {
        call.write(deltaResponse(name, nonce, 'y'.repeat(nonce * 10_000)));
      }
    };
    await using fleet = await Fleet.create(plan({ variant: 'delta', names: ['default'] }));
    fleet.connect(1);
    await fleet.untilDelivered(3, 5000);
    await eventually(() => deltaRequests.length >= 4, { what: 'four requests' });
    const [first, ...later] = deltaRequests;
    assert.deepEqual(
      [first?.node?.extensions.length, first?.type_url, first?.resource_names_subscribe],
      [516, SECRET_TYPE, ['default']],
    );
    assert.equal(first?.response_nonce, '');
    assert.deepEqual(
      later.map(({ response_nonce }) => response_nonce),
      ['nonce 1', 'nonce 2', 'nonce 3'],
    );
    for (const ack of later) {
      const { type_url, node, error_detail } = ack;
      assert.deepEqual([type_url, node, error_detail], [SECRET_TYPE, null, null]);
      assert.deepEqual([ack.resource_names_subscribe, ack.resource_names_unsubscribe], [[], []]);
    }
    assert.equal(requests.length, 0);
  });

  const wrongOverDelta: readonly (readonly [string, Partial<DeltaResponse>, RegExp])[] = [
    ['a removal', { resources: [], removed_resources: ['default'] }, /default was removed/],
    ['no resource', { resources: [] }, /got nothing/],
    ['another name', { resources: deltaResponse('other', 1).resources }, /got other/],
  ];
  for (const [what, response, complaint] of wrongOverDelta) {
    it(`counts ${what} over Delta as a failure`, async () => {
      onSubscribe = (call, name) => call.write({ ...deltaResponse(name, 1), ...response });
      await using fleet = await Fleet.create(plan({ variant: 'delta', names: ['default'] }));
      fleet.connect(1);
      await assert.rejects(fleet.untilServed(1, 2000), complaint);
    });
  }

  it('connects each proxy from a process of its own', async () => {
    await using fleet = await Fleet.create(plan({ count: 12, perProcess: 1 }));
    fleet.connect(12);
    await fleet.untilServed(12, 5000);
    assert.equal(peers.size, 12);
    assert.ok(!peers.has(process.pid));
    const waits = fleet.served.map(({ firstNameMs }) => firstNameMs);
    assert.ok(Math.min(...waits) > 0 && Math.max(...waits) < 5000, `waited ${waits.join()} ms`);
  });

  it('gives the processes to the users that were named, in turn', async () => {
    const me = process.getuid?.() ?? 0;
    // Only root has others to give them to.
    const named = me === 0 ? [61_000, 61_001] : [me, me];
    chmodSync(folder, 0o711);
    chmodSync(path, 0o777);
    await using fleet = await Fleet.create(
      plan({ count: 4, perProcess: 1, uids: named, node: 'small' }),
    );
    fleet.connect(4);
    await fleet.untilServed(4, 5000);
    assert.deepEqual([...users].sort(), [...new Set(named)]);
    assert.equal(peers.size, 4);
  });

  it('shares a process between as many connections as it is told to', async () => {
    await using fleet = await Fleet.create(plan({ count: 6, perProcess: 3, node: 'small' }));
    fleet.connect(6);
    await fleet.untilServed(6, 5000);
    assert.equal(peers.size, 2);
  });

  it('fails with status and message, whatever their characters, when a stream ends', async () => {
    // Space to tilde are every character that a percent-encoded message consists of.
    const printable = String.fromCharCode(...Array.from({ length: 95 }, (_, n) => n + 32));
    onFirst = (call) => {
      const details = `no entry for you, ü ${printable}`;
      call.emit('error', { code: grpc.status.PERMISSION_DENIED, details });
    };
    await using fleet = await Fleet.create(plan({ names: ['default'] }));
    fleet.connect(1);
    await assert.rejects(fleet.untilServed(1, 5000), ({ message }: Error) => {
      assert.ok(message.includes(`gRPC status 7 no entry for you, ü ${printable}`), message);
      return true;
    });
  });

  const wrong: readonly (readonly [string, (call: Call) => void, RegExp])[] = [
    ['another name', (call) => call.write(response('other', 1)), /got other \(certificate\)/],
    [
      'an empty secret',
      (call) => call.write(response('default', 1, secret('default', 2, ''))),
      /got default \(other\)/,
    ],
    ['no resource', (call) => call.write({ ...response('', 1), resources: [] }), /got nothing/],
    ['a normal end', (call) => call.end(), /gRPC status 0/],
    ['silence', () => undefined, /after 200 ms: 0 of 1 proxies served/],
  ];
  for (const [what, act, complaint] of wrong) {
    it(`counts ${what} as a failure`, async () => {
      onFirst = act;
      await using fleet = await Fleet.create(plan({ names: ['default'] }));
      fleet.connect(1);
      await assert.rejects(fleet.untilServed(1, 200), complaint);
    });
  }

  it('reports a refused connect', async () => {
    await using fleet = await Fleet.create(plan({ path: `${path}.none`, perProcess: 1 }));
    fleet.connect(1);
    await assert.rejects(fleet.untilServed(1, 5000), /refused, errno 2/);
  });
});

function descriptor(socket: Socket): number {
  const handle = Reflect.get(socket, '_handle') as { fd: number };
  return handle.fd;
}
