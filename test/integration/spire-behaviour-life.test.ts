import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { IdentityError } from '../../src/core/errors.ts';
import { settle } from '../support/fake-clock.ts';
import { entitlement } from '../support/identities.ts';
import {
  DOMAIN,
  federated,
  OTHER,
  startHandler,
  WORKLOAD,
  type Handler,
} from '../support/sds-proxy-handler.ts';
import { EndedError, endingOfFetch, type ProxyStream } from '../support/sds-proxy.ts';
import type { DecodedResponse } from '../support/secrets.ts';

const SECOND = `${DOMAIN}/second`;
/** Changes are collected for 5 ms. */
const BURST_MS = 6;
/** Longer than new content is held back after one refusal. */
const PAUSE_MS = 5000;
/** Turns of the event loop after which whatever was sent has been read, by both sides. */
const TURNS = 10;

const namesOf = ({ secrets }: DecodedResponse) => secrets.map(({ name }) => name);

/** Base64 in the PEM of a made-up certificate tells its serial. */
function serialOf({ secrets: [secret] }: DecodedResponse): string {
  assert.ok(secret?.kind === 'certificate');
  const body = secret.chain.split('-----')[2] ?? '';
  return /leaf (\S+)/.exec(Buffer.from(body, 'base64').toString())?.[1] ?? '';
}

/** Lets everything arrive that is on its way. */
async function quiet(handler: Handler): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await settle();
  await handler.clock.advance(BURST_MS);
  for (let turn = 0; turn < TURNS; turn++) await settle();
}

/** A stream that has asked for names and has them. */
async function served(handler: Handler, ...names: string[]): Promise<ProxyStream> {
  const stream = handler.proxy.stream();
  stream.ask(...names);
  await stream.next();
  return stream;
}

async function isSilent(handler: Handler, stream: ProxyStream): Promise<void> {
  const { length } = stream.responses;
  await quiet(handler);
  assert.equal(stream.responses.length, length);
}

async function endingOf(stream: ProxyStream) {
  const { code, details } = await stream.ending();
  return [code, details];
}

describe("SPIRE's SDS behaviour over time (B2)", { timeout: 60_000 }, () => {
  it('T1: pushes a new certificate to who never answered', async () => {
    await using handler = await startHandler();
    const stream = await served(handler, 'default');
    const [first] = stream.responses;
    assert.ok(first?.version && first.nonce);
    handler.svid(WORKLOAD, '02');
    await quiet(handler);
    assert.equal(serialOf(await stream.next()), '02');
  });

  it('T2: remembers the node; told apart by the form of a bundle', async () => {
    await using handler = await startHandler();
    const stream = handler.proxy.stream();
    const fields = { disable_spiffe_cert_validation: { boolValue: true } };
    stream.send({ resource_names: ['ROOTCA'], node: { metadata: { fields } } });
    const { nonce } = await stream.next();
    stream.send({ resource_names: ['ROOTCA'], response_nonce: nonce });
    handler.bundle('domain.test', 2);
    await quiet(handler);
    assert.equal((await stream.next()).secrets[0]?.kind, 'plain bundle');
  });

  it('T3: sends nothing for a refusal, then the next update; after a pause, so that it is no loop', async () => {
    await using handler = await startHandler();
    const stream = await served(handler, 'default');
    stream.nack('no good', 'default');
    await isSilent(handler, stream);
    handler.svid(WORKLOAD, '02');
    await quiet(handler);
    await handler.clock.advance(PAUSE_MS);
    assert.equal(serialOf(await stream.next()), '02');
  });

  it('T4: waits when nothing is there yet, then answers', async () => {
    await using handler = await startHandler();
    handler.svid(WORKLOAD, undefined);
    const stream = handler.proxy.stream();
    stream.ask('default');
    await isSilent(handler, stream);
    handler.svid(WORKLOAD, '02');
    assert.equal(serialOf(await stream.next()), '02');
  });

  it('T4: not for ever, as SPIRE does; ends with a reason after sds.pending_timeout', async () => {
    await using handler = await startHandler();
    handler.svid(WORKLOAD, undefined);
    const stream = handler.proxy.stream();
    stream.ask('default');
    await quiet(handler);
    await handler.clock.advance(5000);
    assert.deepEqual(await endingOf(stream), ['UNAVAILABLE', 'default is being signed']);
  });

  it('T5: answers other names under the same nonce at once', async () => {
    await using handler = await startHandler();
    const stream = await served(handler, 'default');
    stream.ack('default');
    stream.ack('ROOTCA');
    assert.deepEqual(namesOf(await stream.next()), ['ROOTCA']);
  });

  it('T6: ignores the names beside a bogus nonce', async () => {
    await using handler = await startHandler();
    const stream = await served(handler, 'default');
    handler.svid(WORKLOAD, '02');
    await quiet(handler);
    stream.send({ resource_names: ['ROOTCA'], response_nonce: 'bogus' });
    stream.ack('default');
    await quiet(handler);
    assert.deepEqual(stream.responses.map(serialOf), ['01', '02']);
  });

  it('T7: ends a stream that cannot follow its process', async () => {
    await using handler = await startHandler();
    handler.endProcess();
    const stream = handler.proxy.stream();
    stream.ask('default');
    assert.equal((await stream.ending()).code, 'UNAVAILABLE');
    assert.equal(stream.responses.length, 0);
  });

  it('T8: a second stream over the limit ends; RESOURCE_EXHAUSTED, the first goes on', async () => {
    await using handler = await startHandler({ requestsPerSecond: 1 });
    const first = await served(handler, 'default');
    const second = await served(handler, 'default');
    assert.equal(second.responses.length, 1);
    const third = handler.proxy.stream();
    third.ask('default');
    const ending = await third.ending();
    assert.equal(ending.code, 'RESOURCE_EXHAUSTED');
    assert.match(ending.details, /more than 1 requests per second/);
    handler.svid(WORKLOAD, '02');
    await quiet(handler);
    assert.equal(first.responses.length, 2);
  });
});

describe("what SPIRE's tests leave open (B4)", { timeout: 60_000 }, () => {
  it('B4: two aliases of one secret are both answered; SPIRE refuses the second', async () => {
    await using handler = await startHandler();
    const names = ['ROOTCA', DOMAIN, 'ALL', 'default', WORKLOAD];
    assert.deepEqual(namesOf(await handler.proxy.fetch({ resource_names: names })), names);
  });

  it('B4: a name that is listed twice is answered once', async () => {
    await using handler = await startHandler();
    const resource_names = ['default', 'default'];
    assert.deepEqual(namesOf(await handler.proxy.fetch({ resource_names })), ['default']);
  });

  it('B4: another order of the names is no change', async () => {
    await using handler = await startHandler();
    const stream = await served(handler, 'default', 'ROOTCA');
    stream.ack('ROOTCA', 'default');
    await isSilent(handler, stream);
  });

  it('B4: without an identity bundles are served, certificates refused', async () => {
    await using handler = await startHandler();
    handler.grant();
    assert.deepEqual(namesOf(await handler.proxy.fetch({})), [DOMAIN]);
    const ending = await endingOfFetch(handler.proxy.fetch({ resource_names: ['default'] }));
    assert.equal(ending.code, 'PERMISSION_DENIED');
  });

  it('B4: an identity that is withdrawn ends its stream and no other', async () => {
    await using handler = await startHandler();
    const [certificate, bundle] = [await served(handler, 'default'), await served(handler, DOMAIN)];
    handler.grant();
    await quiet(handler);
    const why = 'no policy entry for this process grants default';
    assert.deepEqual(await endingOf(certificate), ['PERMISSION_DENIED', why]);
    handler.bundle('domain.test', 2);
    await quiet(handler);
    assert.equal(bundle.responses.length, 2);
  });

  it('B4: a change of the bundle reaches who reads it, and only them', async () => {
    await using handler = await startHandler();
    const [certificate, bundle] = [await served(handler, 'default'), await served(handler, DOMAIN)];
    const both = await served(handler, 'default', 'ROOTCA');
    handler.bundle('domain.test', 2);
    await quiet(handler);
    const lengths = [certificate, bundle, both].map(({ responses }) => responses.length);
    assert.deepEqual(lengths, [1, 2, 2]);
    // SPIRE sends all names of a stream again; here the one that did not change stays out.
    assert.deepEqual(namesOf(await both.next()), ['ROOTCA']);
  });

  it('B4: a federated domain that is removed leaves ALL, and its own stream ends', async () => {
    await using handler = await startHandler();
    const [all, other] = [await served(handler, 'ALL'), await served(handler, OTHER)];
    handler.grant(entitlement(WORKLOAD));
    await quiet(handler);
    const secret = (await all.next()).secrets[0];
    assert.ok(secret?.kind === 'spiffe bundle');
    assert.deepEqual(Object.keys(secret.domains), ['domain.test']);
    assert.equal((await other.ending()).code, 'PERMISSION_DENIED');
  });

  it('B4: of several identities the first is default, and follows the policy', async () => {
    await using handler = await startHandler();
    handler.svid(SECOND, '07');
    handler.grant(federated(WORKLOAD), entitlement(SECOND));
    const stream = await served(handler, 'default');
    handler.grant(entitlement(SECOND), federated(WORKLOAD));
    await quiet(handler);
    assert.deepEqual(stream.responses.map(serialOf), ['01', '07']);
  });

  it('B4: a refusal may change the names, and they are answered', async () => {
    await using handler = await startHandler();
    const stream = await served(handler, 'default');
    stream.nack('no good', 'ROOTCA');
    assert.deepEqual(namesOf(await stream.next()), ['ROOTCA']);
  });

  it('B4: an answer with an empty version is an acknowledgement; SPIRE calls it refused', async () => {
    await using handler = await startHandler();
    const stream = await served(handler, 'default');
    const response_nonce = stream.responses[0]?.nonce;
    stream.send({ resource_names: ['default'], response_nonce, version_info: '' });
    await isSilent(handler, stream);
    assert.equal(handler.log.count('warn', 'proxy refused'), 0);
  });

  it('B4: an unknown type URL ends the stream; SPIRE echoes it', async () => {
    await using handler = await startHandler();
    const ending = await endingOfFetch(handler.proxy.fetch({ type_url: 'x.Unknown' }));
    assert.equal(ending.code, 'INVALID_ARGUMENT');
    assert.match(ending.details, /type_url is x\.Unknown/);
  });

  it('B4: a node with nothing in it, or half of it, is served', async () => {
    await using handler = await startHandler();
    const nodes = [{}, { metadata: {} }, { metadata: { fields: { other: {} } } }];
    for (const node of [...nodes, { user_agent_build_version: {} }]) {
      const response = await handler.proxy.fetch({ resource_names: ['ROOTCA'], node });
      assert.deepEqual(namesOf(response), ['ROOTCA']);
    }
  });

  it('B4: a failed attestation is UNAVAILABLE and tells nothing', async () => {
    await using handler = await startHandler();
    handler.unattested(new IdentityError('ERR_ATTESTATION', 'secret detail'));
    const stream = handler.proxy.stream();
    stream.ask('ROOTCA');
    const why = 'this process could not be attested, see the log of credence';
    assert.deepEqual(await endingOf(stream), ['UNAVAILABLE', why]);
  });

  it('B4: the end of the process ends its streams; SPIRE does not notice', async () => {
    await using handler = await startHandler();
    const stream = await served(handler, 'default');
    handler.endProcess();
    assert.equal((await stream.ending()).code, 'UNAVAILABLE');
    await assert.rejects(stream.next(), EndedError);
  });

  it('B4: many streams of one connection are independent', async () => {
    await using handler = await startHandler();
    const names = Array.from({ length: 200 }, (_, n) => (n % 2 === 0 ? 'default' : 'ROOTCA'));
    const streams = await Promise.all(names.map((name) => served(handler, name)));
    handler.svid(WORKLOAD, '02');
    await quiet(handler);
    await quiet(handler);
    const lengths = streams.map(({ responses }) => responses.length);
    assert.deepEqual(new Set(lengths.filter((_, n) => n % 2 === 0)), new Set([2]));
    assert.deepEqual(new Set(lengths.filter((_, n) => n % 2 === 1)), new Set([1]));
  });

  it('B4: a proxy that comes back with version and nonce of before is answered', async () => {
    await using handler = await startHandler();
    const before = (await served(handler, 'default')).responses[0];
    const stream = handler.proxy.stream();
    const stated = { version_info: before?.version, response_nonce: before?.nonce };
    stream.send({ resource_names: ['default'], ...stated });
    assert.equal((await stream.next()).version, before?.version);
  });
});
