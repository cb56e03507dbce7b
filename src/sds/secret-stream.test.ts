import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseSpiffeId } from '../identity/spiffe-id.ts';
import { settle } from '../../test/support/fake-clock.ts';
import { API, entitlement, fakeBundle, fakeSvid, OWN, WEB } from '../../test/support/identities.ts';
import { daemon } from '../../test/support/secret-stream.ts';

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

  /** A stream whose process is not attested yet, and what takes turns then. */
  async function waitingStream() {
    const turns: (() => boolean)[] = [];
    const served = daemon({}, (_, look) => void turns.push(look));
    let attested: (() => void) | undefined;
    served.state.attested = new Promise((resolve) => (attested = () => resolve(served.caller)));
    const proxy = served.open();
    await proxy.ask('default');
    return {
      ...served,
      ...proxy,
      turns,
      attested: () => {
        attested?.();
        return settle();
      },
    };
  }

  it('sends headers while its process is being attested, and serves it when it is its turn', async () => {
    const { call, turns, attested } = await waitingStream();
    assert.equal(call.begun, true);
    await attested();
    assert.equal(call.responses.length, 0);
    assert.deepEqual(
      turns.map((take) => take()),
      [true],
    );
    assert.deepEqual(
      call.last.secrets.map(({ name }) => name),
      ['default'],
    );
  });

  it('takes no turn when it has ended before', async () => {
    const { call, turns, attested, readers } = await waitingStream();
    await attested();
    call.emit('cancelled');
    assert.deepEqual(
      turns.map((take) => take()),
      [false],
    );
    assert.deepEqual([readers.size, call.responses.length], [0, 0]);
  });

  it('waits for no turn when its process is known', async () => {
    const { open } = daemon({}, () => assert.fail('it has its turn already'));
    const { call, ask } = open();
    await ask('default');
    assert.equal(call.responses.length, 1);
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
    const { open, renew, refresh, log, clock } = daemon();
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
    await clock.advance(1000);
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
    // The protocol cannot say that one of them is no more: a proxy that reconnects hears what is left.
    state.identities = [entitlement(API)];
    await refresh();
    const reason = `no policy entry for this process grants ${WEB} now`;
    assert.deepEqual(call.refusal, ['PERMISSION_DENIED', reason]);
    const again = open();
    await again.ask();
    assert.deepEqual(
      again.call.last.secrets.map(({ name }) => name),
      ['spiffe://example.org', API],
    );
  });

  it('keeps to the form of the first node, whatever later ones say', async () => {
    const { open } = daemon();
    const { call, send } = open();
    const said = (disableSpiffeCertValidation: boolean) => ({
      ...{ id: 'a', cluster: 'b', userAgentName: '', userAgentVersion: undefined },
      disableSpiffeCertValidation,
    });
    await send({ node: said(true), resourceNames: ['ROOTCA'] });
    const { nonce: responseNonce } = call.last;
    await send({ node: said(false), responseNonce, resourceNames: ['ROOTCA'] });
    assert.deepEqual(
      call.responses.map(({ secrets }) => secrets[0]?.kind),
      ['plain bundle'],
    );
  });

  it('answers many requests that came before its turn with one look', async () => {
    const waiting: (() => boolean)[] = [];
    const { open } = daemon({}, (_, look) => void waiting.push(look));
    const { call, ask, ack } = open();
    await ask('default');
    await ack('ROOTCA');
    await ack('default');
    await ack('ROOTCA', 'default');
    assert.equal(waiting.length, 1);
    assert.equal(waiting[0]?.(), true);
    assert.deepEqual(
      call.responses.map(({ secrets }) => secrets.map(({ name }) => name)),
      [['default'], ['default', 'ROOTCA']],
    );
    await ack('ROOTCA');
    await ack('ROOTCA', 'default');
    call.emit('cancelled');
    assert.equal(waiting[1]?.(), false, 'nothing was done for a stream that has gone');
  });

  it('ends a stream that watches more names than there is room for, and gives them back', async () => {
    const { open, state, registry } = daemon();
    const names = Array.from({ length: 400 }, (_, n) => parseSpiffeId(`spiffe://example.org/${n}`));
    state.identities = names.map((id) => entitlement(id));
    const [first, second] = [open(), open()];
    await first.ask(...names);
    await second.ask(...names);
    assert.deepEqual([first.call.ended, second.call.refusal[0]], [undefined, 'RESOURCE_EXHAUSTED']);
    assert.match(await registry.metrics(), /credence_sds_limited_total\{limit="names"\} 1/);
    first.call.emit('cancelled');
    const third = open();
    await third.ask(...names);
    assert.equal(third.call.ended, undefined);
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
});
