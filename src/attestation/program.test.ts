import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  linkSync,
  mkdtempSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  unlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, describe, it } from 'node:test';
import { startAttestingServer } from '../../test/support/attesting-server.ts';
import { eventually } from '../../test/support/eventually.ts';
import { startPeer } from '../../test/support/peer-process.ts';
import { createExecutableReader } from './executable.ts';
import { createAccountNames } from './names.ts';
import type { Peer } from './peer.ts';
import { programAt } from './program.ts';
import { createUnixAttestor } from './unix.ts';

const signal = new AbortController().signal;
const folder = mkdtempSync(join(tmpdir(), 'credence-program-'));
after(() => rmSync(folder, { recursive: true }));

describe('programAt()', () => {
  const path = join(folder, 'program');
  const other = join(folder, 'other');
  afterEach(() => {
    for (const file of [path, other]) rmSync(file, { force: true });
  });

  /** What it says of a file that is open under a name, before and after something happens to it. */
  function around(happens: () => void): [string | undefined, string | undefined] {
    copyFileSync('/etc/passwd', path);
    const fd = openSync(path, 'r');
    const before = programAt(`/proc/self/fd/${fd}`);
    happens();
    const then = programAt(`/proc/self/fd/${fd}`);
    closeSync(fd);
    assert.ok(before?.endsWith(` ${path}`));
    return [before, then];
  }

  it('takes a file that was removed, or replaced as packages are, for the same program', () => {
    const [before, removed] = around(() => unlinkSync(path));
    assert.equal(removed, before);
    const [running, replaced] = around(() => {
      linkSync(path, other);
      copyFileSync('/etc/group', `${path}.new`);
      renameSync(`${path}.new`, path);
    });
    assert.equal(replaced, running);
  });

  it('tells a file from its replacement, and from itself under another name', () => {
    let replacement: string | undefined;
    const [before] = around(() => {
      copyFileSync('/etc/passwd', other);
      renameSync(other, path);
      const fd = openSync(path, 'r');
      replacement = programAt(`/proc/self/fd/${fd}`);
      closeSync(fd);
    });
    assert.ok(replacement?.endsWith(` ${path}`));
    assert.notEqual(replacement, before);
    const [one, renamed] = around(() => renameSync(path, other));
    assert.notEqual(renamed, one);
  });

  it('says nothing of what is not there', () => {
    assert.equal(programAt('/proc/self/fd/123456'), undefined);
  });

  it('says nothing of a process that has ended', async () => {
    const child = spawn('true');
    await once(child, 'exit');
    assert.equal(programAt(`/proc/${child.pid}/exe`), undefined);
  });
});

describe('a process that calls exec', () => {
  const attestor = createUnixAttestor({
    names: createAccountNames(),
    executable: createExecutableReader(),
  });
  const pathOf = (selectors: readonly string[]) =>
    selectors.find((one) => one.startsWith('unix:path:'))?.slice('unix:path:'.length);

  it('is attested as what it runs now, and no longer as what it ran', async () => {
    await using server = await startAttestingServer({ attestors: [attestor] });
    await using peer = await startPeer(server.path);
    const { connection } = await server.next();
    const before = await connection.caller({ signal });
    assert.match(pathOf(before.selectors) ?? '', /python/);
    assert.equal(await connection.caller({ signal }), before);
    const program = join(folder, 'sleeper');
    copyFileSync(realpathSync('/bin/sleep'), program);
    chmodSync(program, 0o755);
    peer.child.stdin?.write(`run ${program}\n`);
    await eventually(() => !before.isAlive(), { what: 'the end of the former program' });
    assert.match(String(before.gone.reason), /another program/);
    const after = await connection.caller({ signal });
    assert.equal(pathOf(after.selectors), program);
    assert.equal(after.credentials, before.credentials);
    assert.notEqual(after.key, before.key);
    assert.equal(server.attestation.processes, 1);
  });

  for (const attested of [true, false]) {
    it(`keeps no connection of the former program, which was ${attested ? '' : 'not '}attested`, async () => {
      const programOf = (peer: Peer) => programAt(peer.executableLink);
      await using server = await startAttestingServer({ attestors: [attestor], programOf });
      await using peer = await startPeer(server.path);
      const { connection } = await server.next();
      if (attested) await connection.caller({ signal });
      const program = join(folder, 'sleeper');
      copyFileSync(realpathSync('/bin/sleep'), program);
      chmodSync(program, 0o755);
      const link = `/proc/${peer.pid}/exe`;
      const before = programAt(link);
      peer.child.stdin?.write(`run ${program}\n`);
      await eventually(() => programAt(link) !== before, { what: 'the other program' });
      await assert.rejects(connection.caller({ signal }), {
        code: 'ERR_PEER_GONE',
        message: 'the process runs another program by now',
      });
    });
  }
});
