import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { startAttestingServer } from '../../test/support/attesting-server.ts';
import { startPeer } from '../../test/support/peer-process.ts';
import { parseAccounts } from '../core/accounts.ts';
import { createExecutableReader } from './executable.ts';
import { createAccountNames } from './names.ts';
import { accountSelectors, createUnixAttestor } from './unix.ts';

const dir = mkdtempSync(join(tmpdir(), 'credence-unix-'));
after(() => rmSync(dir, { recursive: true, force: true }));
const signal = new AbortController().signal;

const status = (groups: string) =>
  `Name:\tx\nUid:\t0\t1000\t0\t0\nGid:\t0\t2000\t0\t0\nGroups:\t${groups}\n`;

describe('unix attestor', () => {
  const names = {
    user: (uid: number) => ({ 1000: 'web' })[uid],
    group: (gid: number) => ({ 2000: 'www', 27: 'sudo' })[gid],
  };

  it("emits SPIRE's selectors for user, groups and supplementary groups", () => {
    assert.deepEqual(accountSelectors(status('27 4242 '), names), [
      'unix:uid:1000',
      'unix:gid:2000',
      'unix:user:web',
      'unix:group:www',
      'unix:supplementary_gid:27',
      'unix:supplementary_group:sudo',
      'unix:supplementary_gid:4242',
    ]);
  });

  it('leaves out names that the machine does not know', () => {
    const nobody = { user: () => undefined, group: () => undefined };
    assert.deepEqual(accountSelectors(status(''), nobody), ['unix:uid:1000', 'unix:gid:2000']);
  });

  it('refuses more supplementary groups than it can look at in time', () => {
    const groups = (count: number) => status(Array.from({ length: count }, (_, n) => n).join(' '));
    const nobody = { user: () => undefined, group: () => undefined };
    assert.equal(accountSelectors(groups(1024), nobody).length, 1026);
    assert.throws(() => accountSelectors(groups(1025), nobody), {
      code: 'ERR_ATTESTATION',
      message: 'the process has 1025 supplementary groups, at most 1024 are looked at',
    });
  });

  it('adds path and digest of the executable on request', async () => {
    const attestor = createUnixAttestor({
      names: createAccountNames(),
      executable: createExecutableReader(),
    });
    await using server = await startAttestingServer({ attestors: [attestor] });
    await using _peer = await startPeer(server.path);
    const { connection } = await server.next();
    const { selectors } = await connection.caller({ signal });
    const path = selectors.find((s) => s.startsWith('unix:path:'))?.slice('unix:path:'.length);
    assert.ok(path !== undefined && path.includes('python'));
    const digest = createHash('sha256').update(readFileSync(path)).digest('hex');
    assert.ok(selectors.some((s) => s === `unix:sha256:${digest}`));
  });

  it('fails closed when the executable cannot be read', async () => {
    const read = createExecutableReader();
    const peer = { credentials: { pid: 1, uid: 0, gid: 0 }, executableLink: join(dir, 'no-such') };
    await assert.rejects(read(peer as never, { signal }), { code: 'ERR_ATTESTATION' });
  });
});

describe('account names', () => {
  it('follow the files when they change', () => {
    const passwd = join(dir, 'passwd');
    const group = join(dir, 'group');
    writeFileSync(passwd, 'root:x:0:0::/:/bin/sh\n');
    writeFileSync(group, 'wheel:x:0:\n');
    const names = createAccountNames({ passwd, group });
    assert.equal(names().user(0), 'root');
    assert.equal(names().user(5), undefined);
    appendFileSync(passwd, 'five:x:5:5::/:/bin/sh\n');
    assert.equal(names().user(5), 'five');
    assert.equal(names().group(0), 'wheel');
    rmSync(passwd);
    assert.equal(names().user(0), undefined);
  });

  it('take the first name of an id and skip what is no account', () => {
    const text = 'a:x:1:\nb:x:1:\n# c:x:2:\n:x:3:\nd:x:nan:\ne\n\nf:x:4:';
    assert.deepEqual(
      [...parseAccounts(text)],
      [
        [1, 'a'],
        [4, 'f'],
      ],
    );
  });

  it('never throw, whatever the files hold', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        for (const [id, name] of parseAccounts(text)) {
          assert.ok(Number.isInteger(id) && id >= 0);
          assert.notEqual(name, '');
        }
      }),
    );
  });
});
