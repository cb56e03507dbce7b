import assert from 'node:assert/strict';
import {
  appendFileSync,
  chmodSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import {
  auditPlace,
  recordsIn,
  recordsOf,
  verifyFiles,
  verifyTexts,
} from '../../test/support/audit.ts';
import { fakeCaller } from '../../test/support/identities.ts';
import { IdentityError } from '../core/errors.ts';
import { openAudit } from './audit.ts';
import { sha256 } from './chain.ts';

const events = (path: string) => recordsOf(path).map(({ event }) => event);
const full = () => Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });

describe('openAudit()', () => {
  it('writes a chain that begins with the start and ends with the stop', (t) => {
    const { path, counted, open } = auditPlace(t);
    const audit = open();
    audit.record('x509_svid', { serial: '01' }, fakeCaller(7));
    audit.close();
    const [started, svid, stopped] = recordsOf(path);
    assert.equal(started?.['version'], '1');
    assert.equal(started.time, '2030-01-01T00:00:00.000Z');
    assert.deepEqual(svid?.['who'], {
      ...{ pid: 7, uid: 1000, gid: 1000 },
      selectors: ['unix:uid:1000'],
    });
    assert.equal(svid['serial'], '01');
    assert.equal(stopped?.event, 'stopped');
    assert.deepEqual(counted, ['started', 'x509_svid', 'stopped']);
    const { broken, records, head } = verifyFiles([path]);
    assert.deepEqual([broken, records, head.hash], [undefined, 3, stopped.hash]);
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  it('has every record in the file when it returns', (t) => {
    const { path, open } = auditPlace(t);
    const audit = open();
    audit.record('x509_svid', {});
    assert.deepEqual(events(path), ['started', 'x509_svid']);
    audit.close();
  });

  it('continues the chain after a restart', (t) => {
    const { path, open } = auditPlace(t);
    open().close();
    open().close();
    assert.deepEqual(
      recordsOf(path).map(({ seq }) => seq),
      [1, 2, 3, 4],
    );
    assert.equal(verifyFiles([path]).broken, undefined);
  });

  it('continues behind a crash, wherever it cut the last line', (t) => {
    const { path, open } = auditPlace(t);
    open().close();
    const whole = readFileSync(path, 'latin1');
    const last = whole.lastIndexOf('{');
    for (let length = last; length <= whole.length; length++) {
      writeFileSync(path, whole.slice(0, length));
      open().close();
      const part = whole.slice(last, length);
      const { broken, records } = verifyFiles([path]);
      const isWhole = part.endsWith('}') || part.endsWith('}\n');
      assert.deepEqual([broken, records], [undefined, isWhole ? 4 : 3], `cut at ${length}`);
      const resumed = recordsOf(path).at(-2)?.['resumed'];
      assert.equal(resumed, part === '' || isWhole ? undefined : sha256(part));
    }
  });

  it('continues behind a first line that was cut short', (t) => {
    const { path, open } = auditPlace(t);
    writeFileSync(path, '{"v":1,"seq":1', { mode: 0o600 });
    open().close();
    assert.equal(verifyFiles([path]).broken, undefined);
    assert.equal(recordsOf(path)[0]?.seq, 1);
  });

  const refusals: readonly [string, (path: string) => void, RegExp][] = [
    [
      'a file that others may read',
      (path) => writeFileSync(path, '', { mode: 0o644 }),
      /mode 0644/,
    ],
    ['a link', (path) => symlinkSync('/dev/null', path), /cannot be opened/],
    ['a folder', (path) => mkdirSync(path), /cannot be opened/],
    [
      'a second name',
      (path) => {
        writeFileSync(path, '', { mode: 0o600 });
        linkSync(path, `${path}.2`);
      },
      /has 2 names/,
    ],
    [
      'lines of something else',
      (path) => writeFileSync(path, 'hello\n', { mode: 0o600 }),
      /cannot be continued: its last whole line is not as it was/,
    ],
    [
      'a long line',
      (path) => writeFileSync(path, 'x'.repeat(70_000), { mode: 0o600 }),
      /more than 65536 bytes/,
    ],
    [
      'long lines',
      (path) => writeFileSync(path, `${'x'.repeat(140_000)}\n`, { mode: 0o600 }),
      /more than 65536 bytes/,
    ],
  ];
  for (const [name, make, reason] of refusals) {
    it(`refuses ${name}, and names the setting`, (t) => {
      const { path, open } = auditPlace(t);
      make(path);
      assert.throws(open, (thrown) => {
        assert.ok(thrown instanceof IdentityError);
        assert.equal(thrown.code, 'ERR_DISK');
        assert.match(thrown.message, reason);
        assert.match(thrown.message, /^telemetry\.audit_log_path: /);
        return true;
      });
    });
  }

  it('refuses an edited last record', (t) => {
    const { path, open } = auditPlace(t);
    open().close();
    writeFileSync(path, readFileSync(path, 'utf8').replace('"stopped"', '"stoppex"'));
    assert.throws(open, /its hash is not that of its content/);
  });

  it('refuses a folder that others may write to', (t) => {
    const { folder, open } = auditPlace(t);
    chmodSync(folder, 0o777);
    assert.throws(open, /mode 0777, others may write to it/);
    chmodSync(folder, 0o755);
    open().close();
  });

  it('makes a folder that is not there, for this user alone', (t) => {
    const { folder, open } = auditPlace(t);
    rmdirSync(folder);
    open().close();
    assert.equal(statSync(folder).mode & 0o777, 0o700);
  });

  it('takes no record after the end, when its descriptor may be another file', (t) => {
    const { path, open, clock } = auditPlace(t);
    const audit = open();
    audit.close();
    audit.close();
    assert.throws(() => audit.record('x509_svid', {}), { code: 'ERR_SHUTDOWN' });
    audit.refuse('denied', {}, fakeCaller());
    assert.deepEqual(events(path), ['started', 'stopped']);
    assert.equal(clock.timers, 0);
  });

  it('lets one process write to a file, not two', (t) => {
    const { open } = auditPlace(t);
    const audit = open();
    assert.throws(open, /is written to by another process/);
    audit.close();
    open().close();
  });
});

describe('a record that cannot be written', () => {
  it('fails the signature, and the next one says how many are missing', (t) => {
    const { path, counted, log, open } = auditPlace(t);
    let broken = false;
    const write = (fd: number, text: string) => {
      if (broken) throw full();
      return writeSync(fd, text, null, 'latin1');
    };
    const audit = open({ write });
    broken = true;
    for (let n = 0; n < 3; n++) {
      assert.throws(() => audit.record('x509_svid', {}), { code: 'ERR_DISK' });
    }
    audit.refuse('denied', {}, fakeCaller());
    assert.equal(log.count('error', 'no audit record can be written'), 1);
    broken = false;
    audit.record('x509_svid', {});
    assert.equal(log.count('info', 'written again'), 1);
    audit.close();
    assert.deepEqual(counted.filter((one) => one === 'failure').length, 4);
    const [, svid, left] = recordsOf(path);
    assert.equal(svid?.['unrecorded'], 3);
    assert.deepEqual([left?.event, left?.['left_out']], ['refusals_left_out', 1]);
    assert.equal(verifyFiles([path]).broken, undefined);
  });

  it('leaves nothing of itself when the disk takes a part of it', (t) => {
    const { path, open } = auditPlace(t);
    let room = Infinity;
    const write = (fd: number, text: string) => {
      const written = writeSync(fd, text.slice(0, room), null, 'latin1');
      room = Infinity;
      return written;
    };
    const audit = open({ write });
    room = 20;
    assert.throws(
      () => audit.record('x509_svid', {}),
      /only 20 of \d+ bytes fit, the disk is full/,
    );
    assert.deepEqual(events(path), ['started']);
    audit.record('x509_svid', {});
    audit.close();
    assert.deepEqual(events(path), ['started', 'x509_svid', 'stopped']);
    assert.equal(verifyFiles([path]).broken, undefined);
  });

  it('says so in the next record when its part cannot be taken back', (t) => {
    const { path, open } = auditPlace(t);
    let room = Infinity;
    const write = (fd: number, text: string) => {
      const written = writeSync(fd, text.slice(0, room), null, 'latin1');
      // Somebody else writes as well: what stands there now is not only ours.
      if (room < Infinity) appendFileSync(path, '!');
      room = Infinity;
      return written;
    };
    const audit = open({ write });
    room = 20;
    assert.throws(
      () => audit.record('x509_svid', {}),
      /only 20 of \d+ bytes fit, the disk is full/,
    );
    audit.record('x509_svid', {});
    audit.close();
    assert.match(readFileSync(path, 'utf8'), /"resumed":/);
    assert.equal(verifyFiles([path]).broken?.line, 2);
  });

  it('fails the start', (t) => {
    const { open } = auditPlace(t);
    const write = () => {
      throw full();
    };
    assert.throws(() => open({ write }), /^IdentityError: telemetry\.audit_log_path: .*ENOSPC/);
    open().close();
  });
});

describe('a file that was moved away', () => {
  it('is followed by a new one with the same chain', async (t) => {
    const { path, clock, open } = auditPlace(t);
    const audit = open();
    renameSync(path, `${path}.1`);
    // The same batch.
    audit.record('x509_svid', {});
    assert.deepEqual(events(`${path}.1`), ['started', 'x509_svid']);
    await clock.advance(1000);
    audit.record('x509_svid', {});
    audit.close();
    assert.deepEqual(events(path), ['continued', 'x509_svid', 'stopped']);
    assert.equal(recordsOf(path)[0]?.prev, recordsOf(`${path}.1`).at(-1)?.hash);
    assert.equal(verifyFiles([`${path}.1`, path]).broken, undefined);
    assert.equal(verifyFiles([path]).broken?.line, 1);
  });

  it('is followed at the stop at the latest, so that a restart goes on with the chain', async (t) => {
    const { path, clock, open } = auditPlace(t);
    const audit = open();
    await clock.advance(1000);
    renameSync(path, `${path}.1`);
    audit.close();
    open().close();
    assert.deepEqual(events(path), ['continued', 'stopped', 'started', 'stopped']);
    assert.equal(verifyFiles([`${path}.1`, path]).broken, undefined);
  });

  it('is written on, loudly, while there is no other one', async (t) => {
    const { path, clock, log, counted, open } = auditPlace(t);
    const audit = open();
    renameSync(path, `${path}.1`);
    writeFileSync(path, '', { mode: 0o644 });
    for (let n = 0; n < 3; n++) {
      await clock.advance(1000);
      audit.record('x509_svid', {});
    }
    assert.equal(log.count('error', 'cannot be begun anew'), 1);
    assert.equal(counted.filter((one) => one === 'failure').length, 1);
    chmodSync(path, 0o600);
    await clock.advance(1000);
    audit.record('x509_svid', {});
    audit.close();
    assert.equal(recordsOf(`${path}.1`).length, 4);
    assert.deepEqual(events(path), ['continued', 'x509_svid', 'stopped']);
    assert.equal(verifyFiles([`${path}.1`, path]).broken, undefined);
  });

  it('fails signatures when it was removed and there can be no other one', async (t) => {
    const { path, folder, clock, open } = auditPlace(t);
    const audit = open();
    await clock.advance(1000);
    unlinkSync(path);
    mkdirSync(path);
    assert.throws(() => audit.record('x509_svid', {}), { code: 'ERR_DISK' });
    renameSync(path, join(folder, 'away'));
    audit.record('x509_svid', {});
    audit.close();
    assert.deepEqual(events(path), ['continued', 'x509_svid', 'stopped']);
    assert.equal(recordsOf(path)[0]?.['unrecorded'], 1);
  });

  it('is not followed by one that holds another chain', async (t) => {
    const { path, clock, log, open } = auditPlace(t);
    open().close();
    renameSync(path, `${path}.0`);
    const audit = open();
    await clock.advance(1000);
    renameSync(path, `${path}.1`);
    renameSync(`${path}.0`, path);
    audit.record('x509_svid', {});
    assert.equal(log.count('error', 'cannot be begun anew'), 1);
    assert.match(String(log.lines.at(-1)?.fields.reason), /another chain/);
    audit.close();
    assert.deepEqual(events(`${path}.1`), ['started', 'x509_svid', 'stopped']);
  });
});

describe('a file that somebody else changed', () => {
  it('is said to be cut: what was copied before goes on in it', async (t) => {
    const { path, clock, log, open } = auditPlace(t);
    const audit = open();
    await clock.advance(1000);
    const copy = readFileSync(path);
    truncateSync(path, 0);
    audit.record('x509_svid', {});
    audit.close();
    assert.equal(log.count('error', 'somebody else changed'), 1);
    const [first] = recordsOf(path);
    assert.deepEqual(
      [first?.event, first?.['size'], first?.['expected']],
      ['truncated', 0, copy.length],
    );
    assert.equal(verifyTexts({ copy, path: readFileSync(path) }).broken, undefined);
    assert.equal(verifyTexts({ path: readFileSync(path) }).broken?.line, 1);
  });

  it('is said to have grown', async (t) => {
    const { path, clock, counted, open } = auditPlace(t);
    const audit = open();
    await clock.advance(1000);
    appendFileSync(path, 'something');
    audit.record('x509_svid', {});
    audit.close();
    assert.equal(verifyFiles([path]).broken?.line, 2);
    assert.ok(counted.includes('failure') && counted.includes('foreign_bytes'));
  });
});

describe('a flood of refusals', () => {
  it('is recorded up to its rate, and the next record says how many were left out', async (t) => {
    const { path, clock, open } = auditPlace(t);
    const audit = open();
    for (let n = 0; n < 1000; n++) audit.refuse('denied', {}, fakeCaller(1, 1000));
    audit.refuse('denied', {}, fakeCaller(2, 2000));
    audit.record('x509_svid', {}, fakeCaller(1, 1000));
    assert.equal(recordsOf(path).length, 103);
    await clock.advance(1000);
    audit.refuse('denied', {}, fakeCaller(1, 1000));
    assert.equal(recordsOf(path).at(-1)?.['left_out'], 900);
    audit.close();
  });

  it('is told of by itself when no other comes', async (t) => {
    const { path, clock, open } = auditPlace(t);
    const audit = open();
    for (let n = 0; n < 150; n++) audit.refuse('denied', {}, fakeCaller(1, 1000));
    await clock.advance(10_000);
    const last = recordsOf(path).at(-1);
    assert.deepEqual(
      [last?.event, last?.['uid'], last?.['left_out']],
      ['refusals_left_out', 1000, 50],
    );
    audit.close();
    assert.equal(clock.timers, 0);
  });

  it('of more users than anybody has is bounded as well', (t) => {
    const { path, open } = auditPlace(t);
    const audit = open();
    for (let uid = 0; uid < 5000; uid++) audit.refuse('denied', {}, fakeCaller(1, uid));
    assert.equal(recordsOf(path).length, 401);
    audit.close();
    const told = recordsOf(path).filter(({ event }) => event === 'refusals_left_out');
    assert.equal(told.length, 1025);
    assert.equal(
      told.reduce((sum, one) => sum + Number(one['left_out']), 0),
      4600,
    );
    assert.equal(told.filter((one) => one['uid'] === undefined).length, 1);
  });
});

describe('an audit in the log', () => {
  it('is a chain of whole lines, a new one for each start', (t) => {
    const { clock, log } = auditPlace(t);
    const lines: string[] = [];
    const start = () =>
      openAudit('-', {
        ...{ clock, log, writer: {} },
        metrics: { recorded: () => undefined, failed: () => undefined },
        writeLine: (line) => lines.push(line),
      });
    for (let n = 0; n < 2; n++) {
      const audit = start();
      audit.record('x509_svid', {}, fakeCaller());
      audit.close();
    }
    const records = recordsIn(lines.join(''));
    assert.deepEqual(
      records.map(({ seq }) => seq),
      [1, 2, 3, 1, 2, 3],
    );
    for (const one of records) {
      assert.deepEqual([one['component'], one['level']], ['audit', 'info']);
    }
    assert.equal(verifyTexts({ log: lines.join('') }, { isLog: true }).broken, undefined);
  });
});

describe('what is written of others', () => {
  it('is printable and stays in its line', (t) => {
    const { path, open } = auditPlace(t);
    const audit = open();
    const nasty = 'a"\\\n\u001b[2J\u2028\u202eé😀\ud800';
    audit.refuse('denied', { names: [nasty] }, fakeCaller());
    audit.close();
    const text = readFileSync(path, 'latin1');
    assert.match(text, /^[\x20-\x7e\n]*$/);
    assert.equal(recordsIn(text).length, 3);
    assert.deepEqual(recordsIn(text)[1]?.['names'], [nasty]);
    assert.equal(verifyFiles([path]).broken, undefined);
  });
});
