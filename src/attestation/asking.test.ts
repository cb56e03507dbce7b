import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { startAttestingServer } from '../../test/support/attesting-server.ts';
import { settle } from '../../test/support/fake-clock.ts';
import { startPeer } from '../../test/support/peer-process.ts';
import { IdentityError } from '../core/errors.ts';
import { parseSelector } from '../identity/selector.ts';
import type { Attestor, Evidence } from './attestor.ts';

const signal = new AbortController().signal;
const code = (expected: string) => (error: unknown) =>
  error instanceof IdentityError && error.code === expected;

describe('attestation while attestors are asked', () => {
  it('fails closed when one attestor fails, and asks again for the next call', async () => {
    let calls = 0;
    const attestor: Attestor = {
      name: 'unix',
      attest() {
        calls++;
        if (calls === 1) throw new IdentityError('ERR_ATTESTATION', 'not this time');
        return { selectors: [parseSelector('unix:uid:1')] };
      },
    };
    await using server = await startAttestingServer({ attestors: [attestor] });
    await using _peer = await startPeer(server.path);
    const { connection } = await server.next();
    await assert.rejects(connection.caller({ signal }), code('ERR_ATTESTATION'));
    assert.deepEqual((await connection.caller({ signal })).selectors, ['unix:uid:1']);
  });

  it('asks once for calls that come while it is asking', async () => {
    let calls = 0;
    let answer: (evidence: Evidence) => void = () => undefined;
    const attestor: Attestor = {
      name: 'unix',
      attest() {
        calls++;
        return new Promise((resolve) => (answer = resolve));
      },
    };
    await using server = await startAttestingServer({ attestors: [attestor] });
    await using _peer = await startPeer(server.path);
    const { connection } = await server.next();
    const both = [connection.caller({ signal }), connection.caller({ signal })];
    await settle();
    answer({ selectors: [] });
    assert.equal((await Promise.all(both)).length, 2);
    assert.equal(calls, 1);
  });

  it('refuses a process that ends while an attestor is still asking', async () => {
    let answer: (evidence: Evidence) => void = () => undefined;
    const attestor: Attestor = {
      name: 'unix',
      attest: () => new Promise((resolve) => (answer = resolve)),
    };
    await using server = await startAttestingServer({ attestors: [attestor] });
    const peer = await startPeer(server.path);
    const { connection } = await server.next();
    const asked = connection.caller({ signal });
    await settle();
    await peer.end();
    answer({ selectors: [] });
    await assert.rejects(asked, code('ERR_PEER_GONE'));
  });

  it('refuses a call that was cancelled', async () => {
    await using server = await startAttestingServer();
    await using _peer = await startPeer(server.path);
    const { connection } = await server.next();
    const cancelled = AbortSignal.abort(new IdentityError('ERR_SHUTDOWN', 'enough'));
    await assert.rejects(connection.caller({ signal: cancelled }), code('ERR_SHUTDOWN'));
  });

  it('lets a call go when it is cancelled while an attestor is still asking', async () => {
    const attestor: Attestor = { name: 'unix', attest: () => new Promise(() => undefined) };
    await using server = await startAttestingServer({ attestors: [attestor] });
    await using _peer = await startPeer(server.path);
    const { connection } = await server.next();
    const cancel = new AbortController();
    const asked = connection.caller({ signal: cancel.signal });
    await settle();
    cancel.abort(new IdentityError('ERR_NOT_READY', 'too late'));
    await assert.rejects(asked, code('ERR_NOT_READY'));
  });
});
