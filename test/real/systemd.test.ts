// The daemon and those who ask it as units of a real systemd. Needs root and systemd-nspawn.
import assert from 'node:assert/strict';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { installTo } from '../support/installation.ts';
import { bootSystemd, type SystemdMachine } from '../support/systemd-machine.ts';

/** An account that every Linux has. */
const DAEMON = 1;
const WEB = 'spiffe://example.org/web';
const ANY = 'spiffe://example.org/unit/';

describe('processes in units of systemd', { timeout: 180_000 }, () => {
  const base = mkdtempSync('/var/tmp/credence-units-');
  const config = join(base, 'credence.yaml');
  let machine: SystemdMachine;
  let executable: string;

  before(async () => {
    assert.equal(process.getuid?.(), 0, 'these tests boot a systemd: run them as root');
    chmodSync(base, 0o755);
    executable = installTo(join(base, 'app'));
    cpSync(process.execPath, join(base, 'node'));
    mkdirSync(join(base, 'run'));
    writeFileSync(
      config,
      JSON.stringify({
        trust_domain: 'example.org',
        socket_path: 'run/api.sock',
        admin_socket_path: 'run/private/admin.sock',
        data_dir: 'data',
        policy: { paths: ['policy.yaml'] },
        telemetry: { metrics_address: '' },
        sds: { denied_park: '0s' },
        attestation: { systemd: { enabled: true } },
      }),
    );
    writeFileSync(
      join(base, 'policy.yaml'),
      JSON.stringify({
        entries: [
          {
            spiffe_id: WEB,
            priority: 1,
            selectors: [
              'systemd:id:web.service',
              'systemd:fragment_path:/etc/systemd/system/web.service',
            ],
          },
          { spiffe_id: `${ANY}{systemd:id}`, selectors: [`unix:uid:${DAEMON}`] },
        ],
      }),
    );
    machine = await bootSystemd(base);
    const daemon = ['run', '--config', config];
    await machine.run('systemd-run', '--unit=credence', ...credence(...daemon));
    await eventually(() => ask('health', '--ready', '--config', config), { what: 'the daemon' });
  });
  after(async () => {
    await machine[Symbol.asyncDispose]();
    rmSync(base, { recursive: true });
  });

  const credence = (...args: readonly string[]) => [join(base, 'node'), executable, ...args];
  const ask = (...args: readonly string[]) => machine.run(...(credence(...args) as [string]));
  const fetch = () => credence('fetch', 'x509', '--json', '--socket', join(base, 'run/api.sock'));
  /** Fetches in a unit that is made for it. */
  const fetchIn = (unit: string, uid: number) => {
    const options = ['--quiet', '--wait', '--pipe', `--unit=${unit}`, `--uid=${uid}`];
    return machine.run('systemd-run', ...options, ...fetch());
  };

  it('are told apart by their unit', async () => {
    for (const unit of ['one.service', 'two.service']) {
      assert.match(await fetchIn(unit, DAEMON), new RegExp(`"${ANY}${unit}"`));
    }
  });

  it('have nothing by the name of a unit that another file has', async () => {
    await assert.rejects(fetchIn('web.service', 0));
    // Or the one that was made for it stays in front of the file.
    await machine.run('systemctl', 'reset-failed', 'web.service');
    const shell = `${fetch().join(' ')} > ${join(base, 'web.json')}`;
    const file = join(base, 'web.service');
    writeFileSync(file, `[Service]\nType=oneshot\nExecStart=/bin/sh -c '${shell}'\n`);
    await machine.run('cp', file, '/etc/systemd/system/web.service');
    await machine.run('systemctl', 'daemon-reload');
    await machine.run('systemctl', 'start', 'web.service');
    assert.match(await machine.run('cat', join(base, 'web.json')), new RegExp(`"${WEB}"`));
  });

  it('get nothing while the bus is away, and their own once it is back', async () => {
    await machine.run('systemctl', 'stop', 'dbus.socket', 'dbus.service');
    const [command = '', ...args] = fetch();
    await assert.rejects(machine.run(command, ...args), /this process could not be attested/);
    await machine.run('systemctl', 'start', 'dbus.socket');
    assert.match(await fetchIn('four.service', DAEMON), new RegExp(`"${ANY}four.service"`));
  });
});
