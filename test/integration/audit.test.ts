import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { certificateOf, only } from '../support/answers.ts';
import { startApp, type AppOptions } from '../support/app.ts';
import { recordsIn, recordsOf, verifyFiles, verifyTexts } from '../support/audit.ts';
import { runCredence } from '../support/credence-command.ts';
import { connectDeltaProxy } from '../support/delta-proxy.ts';
import { createDaemon, entryForMe } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { connectProxy, EndedError } from '../support/sds-proxy.ts';

const WEB = 'spiffe://example.org/web';
const API = 'spiffe://example.org/api';
const OTHER = ['unix:uid:4000000000'];

/** A path in a folder that ends with the test. */
function auditPath(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'credence-audit-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'audit.jsonl');
}

/** The daemon with its records at a path. */
function audited(path: string, { settings, ...options }: AppOptions = {}) {
  const telemetry = { metrics_address: '', audit_log_path: path };
  return startApp({ ...options, settings: { ...settings, telemetry } });
}

const of = (path: string, event: string) => recordsOf(path).filter((one) => one.event === event);

describe('an audited daemon', { timeout: 60_000 }, () => {
  it('has recorded each SVID that a proxy gets: who, what, by which entry and authority', async (t) => {
    const path = auditPath(t);
    await using app = await audited(path);
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.ask('default');
    const { serial, uri } = certificateOf(only(await stream.next()));
    const [svid, ...others] = of(path, 'x509_svid');
    assert.ok(svid && others.length === 0);
    assert.equal(`URI:${String(svid['spiffe_id'])}`, uri);
    assert.equal(svid['serial'], serial.toLowerCase());
    const who = svid['who'] as Readonly<Record<string, unknown>>;
    const [pid, uid, gid] = [process.pid, process.getuid?.(), process.getgid?.()];
    assert.deepEqual([who['pid'], who['uid'], who['gid']], [pid, uid, gid]);
    const stat = readFileSync('/proc/self/stat', 'latin1');
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    assert.equal(String(who['start_ticks']), ticks);
    assert.ok((who['selectors'] as string[]).includes(`unix:uid:${uid}`));
    assert.match(String(svid['entry']), /\/policy\.yaml:2$/);
    assert.deepEqual([svid['key_type'], svid['dns_names']], ['ec-p256', []]);
    const lifeMs = Date.parse(String(svid['not_after'])) - Date.parse(String(svid['not_before']));
    assert.ok(lifeMs >= 3_600_000 && lifeMs < 3_700_000, `${lifeMs} ms`);
    const [root, issuing] = of(path, 'ca_signed');
    assert.deepEqual([root?.['kind'], issuing?.['kind']], ['root', 'issuing']);
    assert.equal(issuing?.['authority'], root?.['ca']);
    assert.equal(svid['authority'], issuing?.['ca']);
    // The warm-up's are no signatures.
    assert.equal(recordsOf(path).length, 4);
    const metrics = await app.get('/metrics');
    assert.match(metrics, /^credence_audit_records_total\{event="x509_svid"\} 1$/m);
    assert.match(metrics, /^credence_audit_failures_total 0$/m);
    await app.close();
    assert.equal(verifyFiles([path]).broken, undefined);
  });

  it('records each refusal, by whatever kind of call', async (t) => {
    const path = auditPath(t);
    const entries = [{ spiffe_id: WEB }, { spiffe_id: API, selectors: OTHER }];
    await using app = await audited(path, { entries });
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.ask(API);
    assert.equal((await stream.ending()).code, 'PERMISSION_DENIED');
    await assert.rejects(proxy.fetch({ resource_names: ['file-cert:x'] }), EndedError);
    using incremental = connectDeltaProxy(app.socketPath);
    const delta = incremental.stream();
    delta.send({ subscribe: [WEB, 'nonsense', API] });
    await delta.next();
    const denied = of(path, 'denied').map((one) => [one['code'], one['names']]);
    assert.deepEqual(denied, [
      ['no_entry', [API]],
      ['unknown_name', ['file-cert:x']],
      ['no_entry', [API]],
      ['unknown_name', ['nonsense']],
    ]);
    for (const { who } of of(path, 'denied') as unknown as { who: { pid: number } }[]) {
      assert.equal(who.pid, process.pid);
    }
  });

  it('records a renewal with the entry as it stands by then', async (t) => {
    const path = auditPath(t);
    const settings = { issuer: { x509_svid_ttl: '5s' } };
    await using app = await audited(path, { settings });
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.ask(WEB);
    await stream.next();
    stream.ack(WEB);
    await app.setPolicy([{ spiffe_id: API, selectors: OTHER }, { spiffe_id: WEB }]);
    await stream.next();
    const entries = of(path, 'x509_svid').map((one) => String(one['entry']).replace(/.*:/, ''));
    assert.deepEqual(entries, ['2', '5']);
  });

  it('hands out nothing whose record cannot be written, and keeps serving what is served', async (t) => {
    const path = auditPath(t);
    let isFull = false;
    const writeAudit = (fd: number, text: string) => {
      if (isFull)
        throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
      return writeSync(fd, text, null, 'latin1');
    };
    const entries = [{ spiffe_id: WEB }, { spiffe_id: API }];
    const settings = { issuer: { x509_svid_ttl: '5s' }, sds: { pending_timeout: '500ms' } };
    await using app = await audited(path, { entries, settings, deps: { writeAudit } });
    using proxy = connectProxy(app.socketPath);
    const served = proxy.stream();
    served.ask(WEB);
    await served.next();
    served.ack(WEB);
    isFull = true;
    const late = proxy.stream();
    late.ask(API);
    const { code, details } = await late.ending();
    assert.deepEqual([code, details], ['UNAVAILABLE', `${API} could not be signed yet`]);
    await eventually(() => app.log.count('info', 'SVID renewal failed') > 0, {
      what: 'the renewal of the first one is due',
    });
    assert.equal(app.log.count('error', 'no audit record can be written'), 1);
    // It still has a valid one and its stream.
    assert.equal(served.responses.length, 1);
    assert.match(await app.get('/metrics'), /^credence_audit_failures_total [1-9]/m);
    assert.match(await app.get('/metrics'), /x509_svids_total\{result="issued"\} 1$/m);
    isFull = false;
    const { serial } = certificateOf(only(await served.next()));
    const svids = of(path, 'x509_svid');
    assert.ok(svids.some((one) => one['serial'] === serial.toLowerCase()));
    assert.ok(svids.some((one) => Number(one['unrecorded']) > 0));
    const { code: why } =
      app.log.lines.find(({ message }) => /SVID renewal failed/.test(message))?.fields ?? {};
    assert.equal(why, 'ERR_DISK');
    await app.close();
    assert.equal(verifyFiles([path]).broken, undefined);
  });

  it('records that nothing could be signed', async (t) => {
    const path = auditPath(t);
    await using app = await audited(path, {
      settings: { sds: { pending_timeout: '300ms' } },
      deps: {
        decorateIssuer: (issuer) => ({ ...issuer, mint: () => Promise.reject(new Error('no CA')) }),
      },
    });
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.ask(WEB);
    assert.equal((await stream.ending()).code, 'UNAVAILABLE');
    const [failed] = of(path, 'mint_failed');
    assert.deepEqual(
      [failed?.['code'], failed?.['reason'], failed?.['spiffe_id']],
      ['ERR_ISSUER', 'no CA', WEB],
    );
    assert.equal(of(path, 'x509_svid').length, 0);
  });

  it('writes into the log when that is asked for, whatever its level', async () => {
    const lines: string[] = [];
    const writeLine = (line: string) => void lines.push(line);
    await using app = await audited('-', { deps: { writeLine } });
    using proxy = connectProxy(app.socketPath);
    await proxy.fetch({ resource_names: [WEB] });
    await app.close();
    const events = recordsIn(lines.join('')).map(({ event }) => event);
    assert.deepEqual(events, ['started', 'ca_signed', 'ca_signed', 'x509_svid', 'stopped']);
    assert.equal(verifyTexts({ log: lines.join('') }, { isLog: true }).broken, undefined);
  });

  it('records nothing unless it is told to', async () => {
    await using app = await startApp();
    assert.doesNotMatch(await app.get('/metrics'), /credence_audit/);
  });
});

describe('the records of the built daemon', { timeout: 120_000 }, () => {
  it('are one chain over a rotation, a kill and restarts', async (t) => {
    const path = auditPath(t);
    const telemetry = { metrics_address: '', log_format: 'json', audit_log_path: path };
    await using daemon = await createDaemon({
      entries: [entryForMe(WEB)],
      settings: { telemetry },
    });
    await daemon.start();
    await daemon.fetchX509();
    await daemon.stop('SIGKILL');
    await daemon.start();
    renameSync(path, `${path}.1`);
    await daemon.stop();
    await daemon.start();
    await daemon.fetchX509();
    await daemon.stop();
    const verify = (...args: string[]) => runCredence(['audit', 'verify', ...args]);
    const whole = await verify(`${path}.1`, path);
    assert.match(whole.out, /^whole: \d+ records, seq \d+, last hash [0-9a-f]{64}, of /);
    assert.deepEqual([whole.code, whole.err], [0, '']);
    const late = await verify(path);
    assert.equal(late.code, 1);
    assert.match(late.out, /^broken at .*:1: .*the records before it are not there/);
    const { hash = '' } = recordsOf(`${path}.1`).at(-1) ?? {};
    assert.equal((await verify('--after', hash, path)).code, 0);
    assert.doesNotMatch(daemon.log(), /PRIVATE KEY/);
  });

  it('go into its log in its own form', async () => {
    const telemetry = {
      metrics_address: '',
      log_format: 'json',
      log_level: 'error',
      audit_log_path: '-',
    };
    await using daemon = await createDaemon({
      entries: [entryForMe(WEB)],
      settings: { telemetry },
    });
    await daemon.start();
    await daemon.fetchX509();
    await daemon.stop();
    const { broken, records } = verifyTexts({ log: daemon.log() }, { isLog: true });
    assert.deepEqual([broken, records], [undefined, 5]);
  });

  it('keep it from starting where they cannot be written', async (t) => {
    const path = auditPath(t);
    const telemetry = { metrics_address: '', audit_log_path: join('/proc', 'audit.jsonl') };
    await using daemon = await createDaemon({
      entries: [entryForMe(WEB)],
      settings: { telemetry },
    });
    await assert.rejects(daemon.start(), (thrown: Error) => {
      assert.match(thrown.message, /telemetry\.audit_log_path: \/proc/);
      assert.match(thrown.message, /hint: /);
      return true;
    });
    assert.throws(() => readFileSync(path));
  });
});
