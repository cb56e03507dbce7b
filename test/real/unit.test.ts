// docs/credence.service on a real systemd, as it is and with the drop-ins of docs/attestors.md. The
// engines here know no container: that they were asked is what they tell. Needs root and systemd-nspawn.
import assert from 'node:assert/strict';
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { eventually } from '../support/eventually.ts';
import { installTo } from '../support/installation.ts';
import { bootSystemd, type SystemdMachine } from '../support/systemd-machine.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PAGE = readFileSync(join(ROOT, 'docs/attestors.md'), 'utf8');
const USER = 64_030;
const WEB = 'spiffe://example.org/web';
const DROP_IN = '/etc/systemd/system/credence.service.d/engine.conf';
const CONFIG = '/etc/credence/credence.yaml';
const ID = 'ab'.repeat(32);
const DOCKER = `/docker/${ID}`;
const USERS = `/user.slice/user-${USER}.slice/user@${USER}.service/user.slice/libpod-${ID}.scope`;

/** The page's drop-in that has this line; its script that has it. */
const block = (kind: 'ini' | 'sh', line: string) =>
  Array.from(
    PAGE.matchAll(new RegExp(`\`\`\`${kind}\\n([\\s\\S]*?)\`\`\``, 'g')),
    ([, text]) => text,
  ).find((text) => text?.includes(line)) ?? assert.fail(`docs/attestors.md has no ${line}`);

const ENGINE = `
const { createServer } = require('node:http');
createServer(({ url }, answer) => {
  console.log('asked for ' + url);
  answer.writeHead(404, { 'content-type': 'application/json' }).end('{}');
}).listen(process.argv[2], () => require('node:fs').chmodSync(process.argv[2], 0o660));`;

describe('docs/credence.service on a machine', { timeout: 180_000 }, () => {
  const base = mkdtempSync('/var/tmp/credence-unit-');
  let machine: SystemdMachine;
  const sh = async (script: string) => (await machine.run('bash', '-ceu', script)).trim();
  const credence = '/opt/node /opt/credence/dist/credence.js';

  before(async () => {
    assert.equal(process.getuid?.(), 0, 'these tests boot a systemd: run them as root');
    chmodSync(base, 0o755);
    installTo(join(base, 'app'));
    cpSync(process.execPath, join(base, 'node'));
    const unit = readFileSync(join(ROOT, 'docs/credence.service'), 'utf8');
    writeFileSync(join(base, 'credence.service'), unit.replaceAll('/usr/bin/node ', '/opt/node '));
    writeFileSync(join(base, 'engine.cjs'), ENGINE);
    machine = await bootSystemd(base);
    // What the unit hides is no place for it.
    await sh(`
      cp -r ${base}/app /opt/credence; cp ${base}/node /opt/node
      cp ${base}/credence.service /etc/systemd/system/
      rm -rf /var/lib/credence; mkdir -p /etc/credence/policy ${DROP_IN.replace(/\/[^/]*$/, '')}
      groupadd -f docker; groupadd -f podman
      id credence || useradd --system --no-create-home --shell /usr/sbin/nologin credence
      id user-${USER} || useradd --no-create-home --uid ${USER} user-${USER}`);
    writeFileSync(
      join(base, 'web.yaml'),
      stringify({ entries: [{ spiffe_id: WEB, selectors: [`unix:uid:${USER}`] }] }),
    );
    await sh(`cp ${base}/web.yaml /etc/credence/policy/`);
  });
  after(async () => {
    await machine[Symbol.asyncDispose]();
    rmSync(base, { recursive: true });
  });

  /** Starts the unit with these attestors and drop-in; it is ready when that is done. */
  async function start(attestation: object, dropIn = '') {
    const settings = {
      ...{ trust_domain: 'example.org', policy: { paths: ['policy'] }, attestation },
      ...{ telemetry: { metrics_address: '' }, sds: { denied_park: '0s' } },
      admin_socket_path: '/var/lib/credence/private/admin.sock',
    };
    writeFileSync(join(base, 'credence.yaml'), stringify(settings));
    writeFileSync(join(base, 'engine.conf'), dropIn);
    await sh(`cp ${base}/credence.yaml ${CONFIG}; cp ${base}/engine.conf ${DROP_IN}
      systemctl daemon-reload; systemctl restart credence; systemctl is-active credence`);
  }
  /** What a process of the user's has to hear, in a cgroup like a container's. */
  const fetchIn = (cgroup: string) =>
    sh(`mkdir -p /sys/fs/cgroup${cgroup}; echo $$ >/sys/fs/cgroup${cgroup}/cgroup.procs
      setpriv --reuid=${USER} --regid=${USER} --clear-groups ${credence} fetch x509 2>&1 || true`);
  const log = () => sh('journalctl --unit=credence --lines=20 --output=cat');
  async function startEngine(name: string, socket: string, before: string, options = '') {
    await sh(`${before}
      systemd-run --quiet --unit=${name} ${options} ${base}/node ${base}/engine.cjs ${socket}`);
    await eventually(() => sh(`test -S ${socket}`), { what: 'the engine' });
  }
  async function assertAsked(engine: string, cgroup: string) {
    assert.match(await fetchIn(cgroup), /could not be attested/);
    const asked = await sh(`journalctl --unit=${engine} --output=cat`);
    assert.ok(asked.includes(`asked for /containers/${ID}/json`), `${asked}\n${await log()}`);
  }

  it('starts, and serves processes with the selectors of unix and systemd', async () => {
    await start({ systemd: { enabled: true } });
    assert.match(await fetchIn('/system.slice'), new RegExp(`^SPIFFE ID +${WEB}$`, 'm'));
    const folders = await sh('stat -c "%a %U %n" /run/credence/* /var/lib/credence/private');
    assert.equal(
      folders,
      '777 credence /run/credence/api.sock\n700 credence /var/lib/credence/private',
    );
  });

  it('asks docker with the drop-in for it, and not without', async () => {
    const socket = '/run/docker.sock';
    await startEngine(
      'docker-engine',
      socket,
      `systemctl stop docker.socket || true; rm -f ${socket}`,
    );
    await sh(`chgrp docker ${socket}`);
    const docker = { enabled: true, podman_socket_path: '' };
    await start({ docker });
    assert.match(await fetchIn(DOCKER), /could not be attested/);
    assert.match(await log(), /credence may not connect there/);
    await start({ docker }, block('ini', 'SupplementaryGroups=docker'));
    await assertAsked('docker-engine', DOCKER);
  });

  it('may connect to podman’s socket with the group and the drop-in for it', async () => {
    await sh(block('sh', 'groupadd --system podman').replace('groupadd --system', 'groupadd -f'));
    // All rules of the machine, as at its start.
    await sh('systemd-tmpfiles --create || true');
    const modes = await sh('stat -c "%a %G" /run/podman /run/podman/podman.sock');
    assert.equal(modes, '710 podman\n660 podman');
    await start(
      { docker: { enabled: true, socket_path: '' } },
      block('ini', 'SupplementaryGroups=docker').replace('=docker', '=podman'),
    );
    const status = await sh('cat /proc/$(systemctl show -P MainPID credence)/status');
    assert.match(status, /^CapEff:\s+0+$/m);
    await sh(
      'setpriv --reuid=credence --regid=credence --groups=podman \
      test -w /run/podman/podman.sock',
    );
  });

  it('asks a user’s own podman with the drop-in for it, also when mounted later', async () => {
    const home = `/run/user/${USER}`;
    const mount = `mkdir -p ${home}; mount -t tmpfs -o mode=700,uid=${USER},gid=${USER} t ${home}
      mkdir ${home}/podman; chown ${USER}:${USER} ${home}/podman`;
    const docker = {
      ...{ enabled: true, socket_path: '', podman_socket_path: '' },
      podman_socket_path_template: '/run/user/%d/podman/podman.sock',
    };
    await start({ docker }, block('ini', 'CAP_DAC_OVERRIDE'));
    await startEngine('users-engine', `${home}/podman/podman.sock`, mount, `--uid=${USER}`);
    await assertAsked('users-engine', USERS);
    assert.equal(
      await sh('nsenter -m -t $(systemctl show -P MainPID credence) ls /root 2>&1 || true'),
      '',
    );
  });
});
