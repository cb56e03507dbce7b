import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { startAttestingServer } from '../../test/support/attesting-server.ts';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { startPeer } from '../../test/support/peer-process.ts';
import { IdentityError } from '../core/errors.ts';
import { createLogger } from '../core/log.ts';
import { parseSelector, type Selector } from '../identity/selector.ts';
import { createAttestation } from './attestation.ts';
import type { Attestor } from './attestor.ts';
import { createKernel } from './native.ts';

const signal = new AbortController().signal;
const code = (expected: string) => (error: unknown) =>
  error instanceof IdentityError && error.code === expected;

describe('createCallers()', () => {
  it('attests a process anew, as a caller of its own, once what was said of it no longer holds', async () => {
    let program = 1;
    const attestor: Attestor = {
      name: 'unix',
      attest() {
        const seen = program;
        const selectors = [parseSelector(`unix:path:/${seen}`)];
        return { selectors, holds: () => program === seen };
      },
    };
    await using server = await startAttestingServer({ attestors: [attestor] });
    await using _peer = await startPeer(server.path);
    const { connection } = await server.next();
    const first = await connection.caller({ signal });
    program = 2;
    const second = await connection.caller({ signal });
    assert.deepEqual(second.selectors, ['unix:path:/2']);
    assert.notEqual(second.key, first.key);
    assert.ok(code('ERR_PEER_GONE')(first.gone.reason));
    assert.equal(first.isAlive(), false);
    assert.equal(second.isAlive(), true);
    assert.equal(await connection.caller({ signal }), second);
    await settle();
    program = 3;
    assert.equal(second.isAlive(), false, 'a push looks too');
    assert.ok(second.gone.aborted);
  });

  describe('of which an attestor says something else later', () => {
    const [a, b, c] = ['unix:uid:1', 'k8s:ns:a', 'k8s:ns:b'].map(parseSelector);
    async function attested() {
      assert.ok(a && b && c);
      let tell: (now: readonly Selector[] | IdentityError) => void = () => assert.fail();
      let late: () => void = () => undefined;
      let stopped = 0;
      const attestors: readonly Attestor[] = [
        { name: 'unix', attest: () => ({ selectors: [a] }) },
        {
          name: 'kubernetes',
          attest: () => ({
            selectors: [b],
            agrees() {
              late();
              return true;
            },
            follow(to) {
              tell = to;
              return () => {
                stopped++;
              };
            },
          }),
        },
      ];
      const server = await startAttestingServer({ attestors });
      const peer = await startPeer(server.path);
      const { connection } = await server.next();
      const caller = await connection.caller({ signal });
      let changes = 0;
      caller.onChange(() => changes++);
      return {
        caller,
        connection,
        ...{ tell: (now: readonly Selector[] | IdentityError) => tell(now), a, b, c },
        counts: () => ({ changes, stopped }),
        /** Told only when it is asked whether it still says the same. */
        tellLate(now: readonly Selector[] | IdentityError) {
          late = () => {
            late = () => undefined;
            tell(now);
          };
        },
        async [Symbol.asyncDispose]() {
          await peer[Symbol.asyncDispose]();
          await server[Symbol.asyncDispose]();
        },
      };
    }

    it('is the same caller with other selectors, beside those of the others', async () => {
      await using is = await attested();
      assert.deepEqual(is.caller.selectors, [is.b, is.a]);
      is.tell([is.c]);
      assert.deepEqual(is.caller.selectors, [is.c, is.a]);
      is.tell([is.c]);
      assert.deepEqual(is.counts(), { changes: 1, stopped: 0 });
      assert.equal(await is.connection.caller({ signal }), is.caller);
    });

    it('is over when nothing can be said of it any more, for all its connections', async () => {
      await using is = await attested();
      is.tell(new IdentityError('ERR_PEER_GONE', 'its pod is no more'));
      assert.ok(code('ERR_PEER_GONE')(is.caller.gone.reason));
      assert.deepEqual(is.counts(), { changes: 0, stopped: 1 });
      is.tell([is.c]);
      assert.deepEqual(is.caller.selectors, [is.b, is.a]);
      await assert.rejects(is.connection.caller({ signal }), /its pod is no more/);
    });

    it('is attested anew after it was refused, by the same connection', async () => {
      await using is = await attested();
      is.tell(new IdentityError('ERR_ATTESTATION', 'its pod has too many labels'));
      assert.ok(code('ERR_ATTESTATION')(is.caller.gone.reason));
      const again = await is.connection.caller({ signal });
      assert.notEqual(again.key, is.caller.key);
      assert.equal(again.isAlive(), true);
    });

    it('is another for a further stream, whose turn to be told has not come', async () => {
      await using is = await attested();
      is.tellLate([is.c]);
      const caller = await is.connection.caller({ signal });
      assert.deepEqual(caller.selectors, [is.c, is.a]);
      is.tellLate(new IdentityError('ERR_PEER_GONE', 'its pod is no more'));
      await assert.rejects(is.connection.caller({ signal }), /its pod is no more/);
    });

    it('is renewed nothing when it turns out that it is over', async () => {
      await using is = await attested();
      is.tellLate(new IdentityError('ERR_ATTESTATION', 'its pod has too many labels'));
      await settle();
      assert.equal(is.caller.isUnchanged(), false);
    });
  });

  it('gives nothing to a process that became another program while it was looked at', async () => {
    let program = 1;
    const attestor: Attestor = {
      name: 'unix',
      attest() {
        const seen = program++;
        return { selectors: [], holds: () => seen === 2 && program === 3 };
      },
    };
    await using server = await startAttestingServer({ attestors: [attestor] });
    await using _peer = await startPeer(server.path);
    const { connection } = await server.next();
    await assert.rejects(connection.caller({ signal }), {
      code: 'ERR_PEER_GONE',
      message: 'the process runs another program now',
    });
    assert.equal((await connection.caller({ signal })).isAlive(), true);
  });

  it('lets many streams listen for the end of one process', async () => {
    await using server = await startAttestingServer();
    await using _peer = await startPeer(server.path);
    const { gone } = await (await server.next()).connection.caller({ signal });
    const warnings: string[] = [];
    const onWarning = ({ name }: Error) => warnings.push(name);
    process.on('warning', onWarning);
    for (let n = 0; n < 100; n++) gone.addEventListener('abort', () => undefined);
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', onWarning);
    assert.deepEqual(warnings, []);
  });
});

describe('the log of attestation', () => {
  /** What two failures of an attestor leave in it. */
  async function linesOf(thrown: unknown): Promise<Record<string, unknown>[]> {
    const lines: Record<string, unknown>[] = [];
    const log = createLogger({
      level: 'debug',
      write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>),
    });
    const attestor: Attestor = {
      name: 'unix',
      attest() {
        throw thrown;
      },
    };
    const attestors = [attestor];
    const clock = new FakeClock();
    const attestation = createAttestation({
      ...{ kernel: createKernel(), attestors, clock, log },
      mostLingering: 100,
    });
    await using server = await startAttestingServer();
    await using _peer = await startPeer(server.path);
    const connection = attestation.accept((await server.next()).socket);
    await assert.rejects(connection.caller({ signal }));
    attestation.close();
    return lines;
  }

  it('tells of a peer that has gone for those who debug, without a stack', async () => {
    const [line, ...more] = await linesOf(new IdentityError('ERR_PEER_GONE', 'it has ended'));
    assert.deepEqual(more, []);
    assert.equal(line?.['level'], 'debug');
    assert.equal(line['reason'], 'it has ended');
    assert.doesNotMatch(JSON.stringify(line), /"stack"| {4}at /);
  });

  it('tells of one that cannot be attested without a stack', async () => {
    const cause = Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' });
    for (const thrown of [cause, new IdentityError('ERR_ATTESTATION', 'no', { cause })]) {
      const [line] = await linesOf(thrown);
      assert.equal(line?.['level'], 'info');
      assert.equal(line['code'], 'ERR_ATTESTATION');
      assert.doesNotMatch(JSON.stringify(line), /"stack"| {4}at /);
    }
  });

  it('shows the stack of a failure that nobody foresaw', async () => {
    const [line] = await linesOf(new TypeError('a bug'));
    assert.match(JSON.stringify(line), /"stack":"TypeError: a bug/);
  });
});
