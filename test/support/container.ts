// Real containers by runc or crun at any path of the cgroups, with the programs of this machine.
// Needs root and those two.
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { lstatSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { HYBRID, removeCgroups } from './pod-cgroups.ts';

export interface ContainerOptions {
  readonly runtime?: 'runc' | 'crun';
  /** As the kubelet gives it to the runtime; ends in the container's id of 64 hex digits. */
  readonly cgroupsPath: string;
  readonly uid?: number;
  /** What it runs; sleeps unless told. */
  readonly args?: readonly string[];
  /** Folders of this machine by where it sees them. */
  readonly mounts?: Readonly<Record<string, string>>;
  /** The runtime sees cgroup v2 alone, also where the machine has both. */
  readonly v2?: boolean;
  /** It may make cgroups below its own. */
  readonly writableCgroup?: boolean;
}

/** A container that runs until it is disposed of. */
export interface Container extends Disposable {
  /** Of its first process, here. */
  readonly pid: number;
  /** Words in front of a command that is to run inside. */
  readonly exec: readonly string[];
  /** What it wrote so far. */
  log(): string;
}

const ROOT_FOLDERS = ['dev', 'proc', 'sys', 'tmp', 'etc', 'run', 'usr'];

/** Starts one; throws with what the runtime says. */
export function startContainer(options: ContainerOptions): Container {
  const { runtime = 'runc', cgroupsPath, v2 = false, uid = 0 } = options;
  const folder = mkdtempSync(join(tmpdir(), 'credence-container-'));
  const id = `credence-${randomBytes(8).toString('hex')}`;
  const pidFile = join(folder, 'pid');
  const logFile = join(folder, 'log');
  writeBundle(folder, options);
  const words = [...view(v2), runtime, '--root', join(folder, 'state')];
  // crun refuses systemd's names without a systemd.
  if (runtime === 'crun') words.push('--cgroup-manager=cgroupfs');
  const run = (...args: readonly string[]) => {
    const [command = '', ...rest] = [...words, ...args];
    return spawnSync(command, rest, { encoding: 'utf8' });
  };
  const stop = () => {
    run('delete', '--force', id);
    for (const name of HYBRID ? HIERARCHIES : ['']) {
      for (let at = cgroupsPath; at !== '/'; at = dirname(at)) {
        removeCgroups([join('/sys/fs/cgroup', name, at)]);
      }
    }
    rmSync(folder, { recursive: true, force: true });
  };
  // The runtime's own output would be the container's.
  const started = spawnSync(
    'sh',
    [
      ...['-c', 'log=$1; shift; exec "$@" >"$log" 2>&1 </dev/null', 'sh', logFile, ...words],
      ...['run', '--detach', '--bundle', folder, '--pid-file', pidFile, id],
    ],
    { encoding: 'utf8' },
  );
  const log = () => readFileSync(logFile, 'utf8');
  if (started.status !== 0) {
    const said = `${started.error?.message ?? ''}${log()}`;
    stop();
    throw new Error(`${runtime} starts no container (Debian: apt-get install ${runtime}): ${said}`);
  }
  const pid = Number(readFileSync(pidFile, 'utf8'));
  // crun would run it as root.
  const exec = [...words, 'exec', '--user', `${uid}:${uid}`, id];
  return { pid, exec, log, [Symbol.dispose]: stop };
}

const HIERARCHIES = [
  'unified',
  ...['cpu', 'cpuacct', 'cpuset', 'memory', 'devices', 'blkio', 'pids', 'systemd', 'freezer'],
];

/** What comes before a runtime that is to see v2 alone. */
function view(v2: boolean): string[] {
  if (!v2 || !HYBRID) return [];
  const script = 'umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec "$@"';
  return ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sh'];
}

function writeBundle(folder: string, options: ContainerOptions): void {
  const root = join(folder, 'rootfs');
  for (const name of ROOT_FOLDERS) mkdirSync(join(root, name), { recursive: true });
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0::/:/bin/sh\n');
  const binds = ['/usr'];
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
    const path = `/${name}`;
    if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) {
      symlinkSync(readlinkSync(path), join(root, name));
    } else if (lstatSync(path, { throwIfNoEntry: false })) binds.push(path);
  }
  const bind = (source: string, destination: string, mode: string) => ({
    ...{ source, destination, type: 'bind', options: ['rbind', mode] },
  });
  const { uid = 0, args = ['sleep', '3600'], mounts = {}, cgroupsPath } = options;
  const cgroup = { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup' };
  const namespaces = ['pid', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type }));
  const capabilities = uid === 0 ? ['CAP_DAC_OVERRIDE', 'CAP_KILL', 'CAP_SETUID'] : [];
  const config = {
    ociVersion: '1.0.2',
    process: {
      ...{ args, cwd: '/', terminal: false, user: { uid, gid: uid } },
      env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      capabilities: {
        ...{ bounding: capabilities, effective: capabilities, permitted: capabilities },
      },
      noNewPrivileges: true,
    },
    root: { path: 'rootfs', readonly: false },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
      { destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['mode=1777'] },
      { ...cgroup, options: ['nosuid', 'noexec', 'nodev', options.writableCgroup ? 'rw' : 'ro'] },
      ...binds.map((path) => bind(path, path, 'ro')),
      ...Object.entries(mounts).map(([inside, here]) => bind(here, inside, 'rw')),
    ],
    linux: { cgroupsPath, namespaces, resources: {} },
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
}
