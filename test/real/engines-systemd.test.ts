// Docker, podman and a user's own podman as they are on a machine with systemd and cgroup v2: scopes
// that systemd makes. The machine is a systemd of its own in a container, which sees v2 alone. Its kernel
// is this one: where that has v1 too, /proc/<pid>/cgroup has lines of it, which say `/`, and no mount
// takes them away. Needs root, systemd-nspawn, docker and podman.
import assert from 'node:assert/strict';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { installTo } from '../support/installation.ts';
import { buildHeldStream, imageTree, IMAGE, MOUNTS } from '../support/real-engines.ts';
import { bootSystemd, type SystemdMachine } from '../support/systemd-machine.ts';

const USER = 64_020;
const SLICE = `/user.slice/user-${USER}.slice/user@${USER}.service`;
const WEB = 'spiffe://example.org/web';
const ENTRIES = [
  { spiffe_id: WEB, selectors: ['docker:label:app:web', 'unix:uid:0'] },
  { spiffe_id: `${WEB}/user`, selectors: ['docker:label:app:web', `unix:uid:${USER}`] },
];

/** What the kernel of any machine that runs these tests allows. */
const PODMAN = {
  'storage.conf': ['[storage]', 'driver = "vfs"', 'runroot = "/run/s"', 'graphroot = "/var/lib/s"'],
  'containers.conf': [
    ...['[containers]', 'log_driver = "k8s-file"', 'pids_limit = 0'],
    'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]',
  ],
};

describe('a container in a scope of systemd', { timeout: 180_000 }, () => {
  const base = mkdtempSync('/var/tmp/credence-scopes-');
  const config = join(base, 'credence.yaml');
  const dockerSocket = join(base, 'docker/engine.sock');
  let machine: SystemdMachine;
  let executable: string;
  let count = 0;

  const mounts = [...MOUNTS, `--volume=${base}:${base}`].join(' ');
  const sh = async (script: string) => (await machine.run('bash', '-ceu', script)).trim();
  const credence = (...args: readonly string[]) =>
    [join(base, 'node'), executable, ...args].join(' ');

  before(async () => {
    assert.equal(process.getuid?.(), 0, 'these tests boot a systemd: run them as root');
    chmodSync(base, 0o755);
    executable = installTo(join(base, 'app'));
    cpSync(process.execPath, join(base, 'node'));
    await buildHeldStream(join(base, 'held.cjs'));
    for (const name of ['run', 'docker', 'tree']) mkdirSync(join(base, name));
    for (const path of ['/usr/sbin/dockerd', '/usr/bin/podman', '/usr/bin/systemd-nspawn']) {
      assert.ok(existsSync(path), `no ${path}: npm run test:real installs it`);
    }
    writeFileSync(join(base, 'image.tar'), imageTree(join(base, 'tree')));
    writeFileSync(join(base, 'policy.yaml'), JSON.stringify({ entries: ENTRIES }));
    writeFileSync(
      config,
      JSON.stringify({
        trust_domain: 'example.org',
        ...{ socket_path: 'run/api.sock', admin_socket_path: 'run/private/admin.sock' },
        ...{ data_dir: 'data', policy: { paths: ['policy.yaml'] } },
        ...{ telemetry: { metrics_address: '' }, sds: { denied_park: '0s' } },
        attestation: {
          docker: {
            ...{ enabled: true, socket_path: dockerSocket },
            podman_socket_path_template: '/run/user/%d/podman/podman.sock',
          },
        },
      }),
    );
    machine = await bootSystemd(base);
    for (const [name, lines] of Object.entries(PODMAN)) {
      await sh(
        `printf '%s\\n' ${lines.map((line) => `'${line}'`).join(' ')} >/etc/containers/${name}`,
      );
    }
    await sh(`systemd-run --quiet --unit=credence ${credence('run', '--config', config)}`);
    const ready = () => sh(credence('health', '--ready', '--config', config));
    await eventually(ready, { what: 'the daemon' });
  });
  after(async () => {
    await machine[Symbol.asyncDispose]();
    rmSync(base, { recursive: true });
  });

  /**
   * Has an engine's command run a container that asks for an identity, and waits for the answer.
   * @returns that, and what the kernel and the daemon say of its process
   */
  async function ask(
    command: string,
    id: string,
    { options = '', before = '', inherits = false } = {},
  ) {
    const log = join(base, `${count++}.log`);
    writeFileSync(log, '');
    chmodSync(log, 0o666);
    const client = `${base}/node ${base}/held.cjs ${base}/run/api.sock ${log} ${id}`;
    await sh(`${command} import --change 'LABEL app=web' - ${IMAGE} <${base}/image.tar`);
    const name = `credence-${count}`;
    const words = [options, inherits ? '' : mounts, IMAGE, client].join(' ');
    const run = `run --detach --name=${name} --network=none ${words}`;
    await sh(`${before} ${command} ${run}`);
    const told = () => readFileSync(log, 'utf8');
    await eventually(() => told() !== '', { what: 'the answer' });
    const inspected = await sh(`${command} inspect --format '{{.Id}} {{.State.Pid}}' ${name}`);
    const [container = '', pid = ''] = inspected.split(' ');
    const cgroups = await sh(`cat /proc/${pid}/cgroup`);
    return {
      ...{ container, told: told() },
      cgroup: /^0::(.*)$/m.exec(cgroups)?.[1],
      // It says no where the process has nothing.
      explained: await sh(`${credence('explain', '--config', config, '--pid', pid)} 2>&1 || true`),
      stop: () => sh(`${command} stop --time=0 ${name}`),
    };
  }
  const streams = async () =>
    JSON.parse(await sh(credence('status', '--json', '--config', config))) as {
      readonly proxies: readonly unknown[];
    };

  it('is what docker says, whose driver is systemd', async () => {
    const driver = '--exec-opt native.cgroupdriver=systemd --storage-driver vfs';
    const folders = ['data', 'exec']
      .map((name) => `--${name}-root=${base}/docker/${name}`)
      .join(' ');
    await sh(
      `systemd-run --quiet --unit=engine --property=Delegate=yes /usr/sbin/dockerd \
        --host=unix://${dockerSocket} ${folders} ${driver} --pidfile=${base}/docker/pid \
        --bridge=none --iptables=false --ip6tables=false`,
    );
    const docker = `/usr/bin/docker --host unix://${dockerSocket}`;
    await eventually(() => sh(`${docker} version`), { what: 'docker' });
    const { told, container, cgroup, explained, stop } = await ask(docker, WEB);
    assert.equal(told, 'answer\n');
    assert.equal(cgroup, `/system.slice/docker-${container}.scope`);
    assert.match(explained, /docker:image_config_digest:sha256:[0-9a-f]{64}$/m);
    assert.equal((await streams()).proxies.length, 1);
    await stop();
    const gone = async () => (await streams()).proxies.length === 0;
    await eventually(gone, { what: 'the end of its streams', timeoutMs: 2000 });
    // Where nobody told of it is no container, and no process of the host either.
    const elsewhere = await ask(docker, WEB, { options: '--cgroup-parent=shop.slice' });
    assert.equal(elsewhere.cgroup, `/shop.slice/docker-${elsewhere.container}.scope`);
    assert.match(elsewhere.told, /^end 14 /);
    assert.match(elsewhere.explained, /where none are expected/);
    await elsewhere.stop();
  });

  // crun would lift a limit that root may not lift everywhere.
  const podman = 'podman --runtime=runc';

  it("is what the machine's podman says", async () => {
    await sh('systemctl start podman.socket');
    const { told, container, cgroup, explained, stop } = await ask(podman, WEB);
    assert.equal(told, 'answer\n');
    assert.equal(cgroup, `/machine.slice/libpod-${container}.scope`);
    assert.match(explained, /docker:label:app:web$/m);
    await stop();
  });

  it("is what the machine's podman says in a pod, and in a service", async () => {
    // Its own container holds the pod's cgroup.
    const infra = `--infra-image=${IMAGE} --infra-command='/usr/bin/sleep 600'`;
    const pod = await sh(`${podman} pod create ${infra} --share=uts ${mounts}`);
    const inPod = await ask(podman, WEB, { options: `--pod=${pod}`, inherits: true });
    assert.equal(inPod.told, 'answer\n');
    const slice = `/machine.slice/machine-libpod_pod_${pod}.slice`;
    assert.equal(inPod.cgroup, `${slice}/libpod-${inPod.container}.scope`);
    await inPod.stop();
    const before = 'systemd-run --quiet --unit=web --property=Type=forking --property=Delegate=yes';
    const inService = await ask(podman, WEB, { options: '--cgroups=split', before });
    const service = `/system.slice/web.service/libpod-payload-${inService.container}`;
    assert.deepEqual([inService.cgroup, inService.told], [service, 'answer\n']);
    await inService.stop();
  });

  it("is what its user's podman says, and nothing while that cannot be asked", async () => {
    await sh(`useradd --create-home --uid ${USER} worker; loginctl enable-linger worker`);
    const run = `/run/user/${USER}`;
    const as = `cd / && runuser -u worker -- env HOME=/home/worker XDG_RUNTIME_DIR=${run} \
      DBUS_SESSION_BUS_ADDRESS=unix:path=${run}/bus`;
    await eventually(() => sh(`${as} systemctl --user start podman.socket`), { what: 'a session' });
    const own = `${as} podman --runtime=crun`;
    const { told, container, cgroup, explained, stop } = await ask(own, `${WEB}/user`);
    assert.equal(told, 'answer\n');
    assert.equal(cgroup, `${SLICE}/user.slice/libpod-${container}.scope/container`);
    assert.match(explained, new RegExp(`unix:uid:${USER}$`, 'm'));
    await stop();
    await sh(`${as} systemctl --user stop podman.socket podman.service`);
    const alone = await ask(own, `${WEB}/user`);
    assert.match(alone.told, /^end 14 /);
    await alone.stop();
  });
});
