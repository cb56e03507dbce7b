import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { afterEach, describe, it } from 'node:test';
import { startAttestingServer } from '../../test/support/attesting-server.ts';
import { settle } from '../../test/support/fake-clock.ts';
import { startPeer } from '../../test/support/peer-process.ts';
import { IdentityError } from '../core/errors.ts';
import { parseSelector } from '../identity/selector.ts';
import type { Attestor, Evidence } from './attestor.ts';
import { createKernel } from './native.ts';
import { startTime } from './peer.ts';

const signal = new AbortController().signal;

/** Descriptors of this process that hold another one; those of earlier tests may be closed meanwhile. */
function holding(pid: number): readonly string[] {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      const isFolder = readlinkSync(`/proc/self/fd/${fd}`) === `/proc/${pid}`;
      return isFolder || readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8').includes(`Pid:\t${pid}\n`);
    } catch {
      return false;
    }
  });
}

describe('attestPid()', () => {
  const children: ChildProcess[] = [];
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });

  async function start(): Promise<{ pid: number; end: () => Promise<void> }> {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    children.push(child);
    await once(child, 'spawn');
    const end = async () => {
      child.kill('SIGKILL');
      await once(child, 'exit');
    };
    return { pid: child.pid ?? 0, end };
  }

  it('says what a process is attested as when it connects', async () => {
    await using server = await startAttestingServer();
    await using peer = await startPeer(server.path);
    const { connection } = await server.next();
    const caller = await connection.caller({ signal });
    // By what the test after this one looks for.
    assert.equal(holding(peer.pid).length, 2);
    const { startTicks, ...described } = await server.attestation.attestPid(peer.pid);
    assert.deepEqual(described, { credentials: caller.credentials, selectors: caller.selectors });
    assert.equal(startTicks, Number(startTime(readFileSync(`/proc/${peer.pid}/stat`, 'latin1'))));
  });

  it('describes a process that has never connected, and does not keep it', async () => {
    await using server = await startAttestingServer();
    const { pid } = await start();
    const { selectors } = await server.attestation.attestPid(pid);
    assert.ok(selectors.includes(parseSelector(`unix:uid:${process.geteuid?.() ?? -1}`)));
    assert.equal(server.attestation.processes, 0);
    assert.deepEqual(holding(pid), []);
  });

  for (const pid of [0, -1, 1.5, NaN, 2 ** 22 + 1, 2 ** 32 + 1, 2 ** 53]) {
    it(`takes ${pid} for no process`, async () => {
      await using server = await startAttestingServer();
      await assert.rejects(server.attestation.attestPid(pid), {
        code: 'ERR_PEER_GONE',
        message: `there is no process with pid ${pid}`,
      });
    });
  }

  it('says that a process has ended, before it is asked for or meanwhile', async () => {
    let answer: (evidence: Evidence) => void = () => undefined;
    const attestor: Attestor = {
      name: 'unix',
      attest: () => new Promise((resolve) => (answer = resolve)),
    };
    await using server = await startAttestingServer({ attestors: [attestor] });
    const { pid, end } = await start();
    const before = readdirSync('/proc/self/fd').length;
    const asked = server.attestation.attestPid(pid);
    await settle();
    await end();
    answer({ selectors: [] });
    await assert.rejects(asked, { code: 'ERR_PEER_GONE', message: /has ended/ });
    await assert.rejects(server.attestation.attestPid(pid), { code: 'ERR_PEER_GONE' });
    // What has ended is named no more by what holds it.
    assert.ok(readdirSync('/proc/self/fd').length <= before);
  });

  it('refuses a number that came to stand for another process while it was pinned', async () => {
    const kernel = { ...createKernel(), pidOf: () => -1 };
    await using server = await startAttestingServer({ kernel });
    await assert.rejects(server.attestation.attestPid(process.pid), { code: 'ERR_PEER_GONE' });
  });

  it('fails as attesting a peer does, and keeps no descriptor then', async () => {
    const attestor: Attestor = {
      name: 'unix',
      attest() {
        throw new IdentityError('ERR_ATTESTATION', 'not this one');
      },
    };
    await using server = await startAttestingServer({ attestors: [attestor] });
    await assert.rejects(server.attestation.attestPid(process.pid), { message: 'not this one' });
    assert.deepEqual(holding(process.pid), []);
  });
});
