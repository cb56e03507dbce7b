// A disk that is really full, and one that is read-only, under the audit records. Needs root.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { recordsOf, verifyFiles } from '../support/audit.ts';
import { createDaemon, entryForMe } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';

const WEB = 'spiffe://example.org/web';

function run(command: string, ...args: readonly string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  assert.equal(status, 0, `${command} ${args.join(' ')}: ${stderr}`);
}

/** A small file system of its own, gone with the test. */
function smallDisk(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'credence-disk-'));
  run('mount', '-t', 'tmpfs', '-o', 'size=64k,mode=0700', 'none', folder);
  t.after(() => {
    run('umount', '-l', folder);
    rmSync(folder, { recursive: true });
  });
  return folder;
}

/** Takes what is left of the disk, byte by byte. */
function fill(path: string): void {
  spawnSync('dd', ['if=/dev/zero', `of=${path}`, 'bs=1'], { encoding: 'utf8' });
  assert.ok(statSync(path).size > 0);
}

describe('audit records on a disk that is full', { timeout: 60_000 }, () => {
  it('keep back what they cannot tell of, until there is room again', async (t) => {
    assert.equal(process.getuid?.(), 0, 'these tests mount a file system: run them as root');
    const disk = smallDisk(t);
    const path = join(disk, 'audit.jsonl');
    const telemetry = { metrics_address: '', log_format: 'json', audit_log_path: path };
    const settings = { telemetry, sds: { pending_timeout: '1s' } };
    await using daemon = await createDaemon({ entries: [entryForMe(WEB)], settings });
    await daemon.start();
    assert.equal((await daemon.fetchX509()).length, 1);
    fill(join(disk, 'ballast'));
    // What is left of the last page of the file is there on a full disk too.
    let refused = '';
    for (let n = 0; n < 16 && refused === ''; n++) {
      const fetched = daemon.fetchX509();
      refused = await fetched.then(() => '').catch((thrown: unknown) => String(thrown));
    }
    assert.match(refused, /could not be signed yet/);
    assert.match(daemon.log(), /ENOSPC|the disk is full/);
    assert.ok((await daemon.metric('credence_audit_failures_total')) > 0);
    rmSync(join(disk, 'ballast'));
    await eventually(() => daemon.fetchX509(), { what: 'there is a certificate again' });
    await daemon.stop();
    assert.equal(verifyFiles([path]).broken, undefined);
    assert.ok(recordsOf(path).some((one) => Number(one['unrecorded']) > 0));
  });
});

describe('a disk that may not be written to', () => {
  it('keeps the daemon from starting', async (t) => {
    const disk = smallDisk(t);
    run('mount', '-o', 'remount,ro', disk);
    const telemetry = { metrics_address: '', audit_log_path: join(disk, 'audit.jsonl') };
    await using daemon = await createDaemon({
      entries: [entryForMe(WEB)],
      settings: { telemetry },
    });
    await assert.rejects(daemon.start(), /telemetry\.audit_log_path: .*EROFS/);
  });
});

describe('a folder for audit records of another user', () => {
  it('is refused at the start', async (t) => {
    const disk = smallDisk(t);
    run('chown', '12345', disk);
    writeFileSync(join(disk, 'x'), '');
    const telemetry = { metrics_address: '', audit_log_path: join(disk, 'audit.jsonl') };
    await using daemon = await createDaemon({
      entries: [entryForMe(WEB)],
      settings: { telemetry },
    });
    await assert.rejects(daemon.start(), /telemetry\.audit_log_path: .* belongs to uid 12345/);
  });
});
