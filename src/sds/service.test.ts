import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import * as grpc from '@grpc/grpc-js';
import { fromJSON, type ServiceDefinition } from '@grpc/proto-loader';
import descriptors from '../gen/protos.json' with { type: 'json' };
import type { Incoming } from './codec.ts';
import { type DiscoveryRequest, encodeDiscoveryResponse } from './messages.ts';
import { encodePlainBundleSecret, encodeResource } from './secret-messages.ts';
import { secretDiscoveryService } from './service.ts';

/** What a client has, out of the generated descriptors: the other end of each method. */
const client = fromJSON(descriptors as Parameters<typeof fromJSON>[0], { keepCase: true })[
  'envoy.service.secret.v3.SecretDiscoveryService'
] as ServiceDefinition;
const served = secretDiscoveryService({ maxNames: 2, maxNameBytes: 100 });

const response = encodeDiscoveryResponse({
  versionInfo: 'v1',
  resources: [encodeResource(encodePlainBundleSecret('ROOTCA', Buffer.from('pem')))],
  nonce: '1',
  controlPlane: 'credence/0.0.0 node=a',
});

/** Ends a call as a handler would: malformed requests with the status that blames the sender. */
function answer(
  incoming: Incoming<DiscoveryRequest>,
): { body: Buffer } | { code: grpc.status; details: string } {
  if (incoming.kind === 'request') return { body: response };
  const { code, message } = incoming.error;
  const status = code === 'ERR_LIMIT' ? 'RESOURCE_EXHAUSTED' : 'INVALID_ARGUMENT';
  return { code: grpc.status[status], details: message };
}

describe('secretDiscoveryService()', () => {
  const folder = mkdtempSync(join(tmpdir(), 'credence-service-'));
  const address = `unix:${join(folder, 'api.sock')}`;
  const server = new grpc.Server();
  const received: Incoming<DiscoveryRequest>[] = [];
  let channel: grpc.Client;

  before(async () => {
    server.addService(served, {
      StreamSecrets(call: grpc.ServerDuplexStream<Incoming<DiscoveryRequest>, Buffer>): void {
        call.on('data', (incoming: Incoming<DiscoveryRequest>) => {
          received.push(incoming);
          const reply = answer(incoming);
          if ('body' in reply) call.write(reply.body);
          else call.emit('error', reply);
        });
        call.on('end', () => call.end());
      },
      FetchSecrets(
        call: grpc.ServerUnaryCall<Incoming<DiscoveryRequest>, Buffer>,
        done: grpc.sendUnaryData<Buffer>,
      ): void {
        const reply = answer(call.request);
        if ('body' in reply) done(null, reply.body);
        else done(reply);
      },
    });
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      );
    });
    channel = new grpc.Client(address, grpc.credentials.createInsecure());
  });

  after(() => {
    channel.close();
    server.forceShutdown();
    rmSync(folder, { recursive: true, force: true });
  });

  /** One unary call with these request bytes: the decoded answer, or the status it ended with. */
  async function fetchSecrets(bytes: Buffer): Promise<unknown> {
    const { path, responseDeserialize } = client['FetchSecrets'] ?? assert.fail();
    return new Promise((resolve) => {
      channel.makeUnaryRequest(
        path,
        (raw: Buffer) => raw,
        responseDeserialize,
        bytes,
        (error, value) => resolve(error ? { code: error.code, details: error.details } : value),
      );
    });
  }

  function encodeRequest(value: object): Buffer {
    return (client['FetchSecrets'] ?? assert.fail()).requestSerialize(value);
  }

  it('has the methods of the descriptors, with their paths and directions', () => {
    assert.deepEqual(Object.keys(served).sort(), Object.keys(client).sort());
    for (const [name, method] of Object.entries(client)) {
      const ours = served[name];
      assert.equal(ours?.path, method.path);
      assert.equal(ours.requestStream, method.requestStream, name);
      assert.equal(ours.responseStream, method.responseStream, name);
      assert.equal(ours.originalName, method.originalName, name);
    }
  });

  it('carries a request in and encoded bytes out', async () => {
    const { path, requestSerialize, responseDeserialize } =
      client['StreamSecrets'] ?? assert.fail();
    const call = channel.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    call.write({ resource_names: ['ROOTCA'], node: { id: 'web-0' } });
    const [reply] = (await once(call, 'data')) as [{ version_info: string; nonce: string }];
    call.end();
    call.resume();
    await once(call, 'status');
    assert.equal(reply.version_info, 'v1');
    assert.equal(reply.nonce, '1');
    const [incoming] = received;
    assert.ok(incoming?.kind === 'request');
    assert.deepEqual(incoming.request.resourceNames, ['ROOTCA']);
    assert.equal(incoming.request.node?.id, 'web-0');
  });

  it('lets the handler say that the bytes were no request', async () => {
    assert.deepEqual(await fetchSecrets(Buffer.from([0x0a, 0x05, 0x61])), {
      code: grpc.status.INVALID_ARGUMENT,
      details: 'not a protobuf message: a length past its end at byte 2',
    });
    assert.deepEqual(await fetchSecrets(encodeRequest({ resource_names: ['a', 'b', 'c'] })), {
      code: grpc.status.RESOURCE_EXHAUSTED,
      details: 'a request has more than 2 resource names, at most 2 are allowed',
    });
  });

  it('leaves a method without a handler unimplemented', async () => {
    const { path, requestSerialize, responseDeserialize } = client['DeltaSecrets'] ?? assert.fail();
    const call = channel.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    call.resume();
    call.write({ resource_names_subscribe: ['default'] });
    await assert.rejects(once(call, 'status'), { code: grpc.status.UNIMPLEMENTED });
  });
});
