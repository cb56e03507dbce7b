// Docker and podman themselves, each with a folder of its own, and containers of an image that has
// nothing but links: its programs are this machine's, mounted. Needs root and both (Debian: docker.io,
// podman).
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { readlinkSync, rmdirSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { startChild, type Child } from './child.ts';
import { eventually } from './eventually.ts';
import { HYBRID, removeCgroups } from './pod-cgroups.ts';

/** What the containers are made from, by the name that both engines take. */
export const IMAGE = 'localhost/web:1';
const CHANGES = ['LABEL app=web', 'LABEL com.example/a.b="x:y z"', 'ENV STAGE=test', 'ENV EMPTY='];

/** An engine of this machine. */
export interface RealEngine extends AsyncDisposable {
  readonly socketPath: string;
  /** Of the image, with `sha256:` in front. */
  readonly imageId: string;
  /** Runs its command; throws with what that wrote to stderr. */
  cli(...args: readonly string[]): string;
  /** Starts a container in the background; the id. */
  run(options: readonly string[], ...command: readonly string[]): string;
  /** Ends containers and forgets them. */
  remove(...ids: readonly string[]): void;
  /** Of the first process of a container, here. */
  pidOf(id: string): number;
  /** Ends the engine, as a crash does; its containers go on. */
  kill(): Promise<void>;
  start(): Promise<void>;
}

/** How an engine differs from the other one. */
interface Kind {
  readonly name: string;
  readonly executables: readonly string[];
  command(folder: string): readonly [string, ...string[]];
  service(folder: string): readonly [string, ...string[]];
  readonly runOptions: readonly string[];
  readonly removeOptions: readonly string[];
  /** Cgroups that it makes and leaves. */
  readonly parents: readonly string[];
}

const socketOf = (folder: string) => join(folder, 'engine.sock');

const DOCKER: Kind = {
  name: 'docker.io',
  executables: ['/usr/bin/docker', '/usr/sbin/dockerd'],
  command: (folder) => ['/usr/bin/docker', '--host', `unix://${socketOf(folder)}`],
  service: (folder) => [
    '/usr/sbin/dockerd',
    ...[`--host=unix://${socketOf(folder)}`, `--data-root=${folder}/data`],
    ...[`--exec-root=${folder}/exec`, `--pidfile=${folder}/pid`, '--storage-driver=vfs'],
    ...['--bridge=none', '--iptables=false', '--ip6tables=false'],
    // Containers outlast the engine's end.
    '--live-restore',
  ],
  runOptions: ['--network=none'],
  removeOptions: ['--force'],
  parents: ['/docker'],
};

const podman = (folder: string): [string, ...string[]] => [
  '/usr/bin/podman',
  ...[`--root=${folder}/data`, `--runroot=${folder}/run`, `--tmpdir=${folder}/tmp`],
  ...['--storage-driver=vfs', '--cgroup-manager=cgroupfs', '--events-backend=file'],
  // crun takes no machine with both versions of cgroups.
  '--runtime=runc',
];

const PODMAN: Kind = {
  name: 'podman',
  executables: ['/usr/bin/podman', '/usr/bin/conmon'],
  command: podman,
  service: (folder) => [
    ...podman(folder),
    ...['system', 'service', '--time=0', `unix://${socketOf(folder)}`],
  ],
  runOptions: [
    ...['--network=none', '--log-driver=k8s-file'],
    // It would ask for more than root may have everywhere.
    ...['--ulimit=nofile=1024:1024', '--ulimit=nproc=1024:1024'],
  ],
  removeOptions: ['--force', '--time=0'],
  parents: ['/libpod_parent'],
};

export const startDocker = () => startReal(DOCKER);
export const startPodman = () => startReal(PODMAN);

async function startReal(kind: Kind): Promise<RealEngine> {
  for (const path of kind.executables) {
    if (existsSync(path)) continue;
    throw new Error(`no ${path}: npm run test:real installs it (Debian package ${kind.name})`);
  }
  const folder = mkdtempSync('/tmp/credence-engine-');
  const run = ([command, ...args]: readonly [string, ...string[]], input?: Buffer) =>
    execFileSync(command, args, { input, encoding: 'utf8', stdio: 'pipe', env: ENV }).trim();
  const cli = (...args: readonly string[]) => run([...kind.command(folder), ...args]);
  let service: Child | undefined;
  const start = async () => {
    const [command, ...args] = kind.service(folder);
    const child = await startChild(command, args, { env: ENV });
    service = child;
    await eventually(() => existsSync(socketOf(folder)) && cli('info') !== '', {
      what: `${kind.name} answers`,
      hopeless: () => child.ended() && child.log(),
    });
  };
  const remove = (...ids: readonly string[]) => void cli('rm', ...kind.removeOptions, ...ids);
  const close = async () => {
    if (service === undefined || service.ended() !== undefined) await start();
    const ids = cli('ps', '--all', '--quiet', '--no-trunc').split('\n').filter(Boolean);
    if (ids.length > 0) remove(...ids);
    await service?.stop();
    removeParents(kind.parents);
    unmountBelow(folder);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await start();
    const changes = CHANGES.flatMap((change) => ['--change', change]);
    run([...kind.command(folder), 'import', ...changes, '-', IMAGE], imageTree(folder));
  } catch (thrown) {
    await service?.stop();
    throw thrown;
  }
  return {
    socketPath: socketOf(folder),
    imageId: cli('image', 'inspect', '--format', '{{.Id}}', IMAGE).replace(
      /^(?!sha256:)/,
      'sha256:',
    ),
    ...{ cli, remove, start },
    run: (options, ...command) =>
      cli('run', '--detach', ...kind.runOptions, ...MOUNTS, ...options, IMAGE, ...command),
    pidOf: (id) => Number(cli('inspect', '--format', '{{.State.Pid}}', id)),
    async kill() {
      await service?.stop('SIGKILL');
      // Docker's own containerd ends with it; where nobody reaps that, it would be taken for a live one.
      for (const left of ['engine.sock', 'exec/containerd/containerd.pid']) {
        rmSync(join(folder, left), { force: true });
      }
    },
    [Symbol.asyncDispose]: close,
  };
}

/** Nothing of whoever runs the tests decides which engine is asked, or how. */
const ENV = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/nonexistent', LC_ALL: 'C.UTF-8' };

const FOLDERS = ['bin', 'sbin', 'lib', 'lib64'].map((name) => `/${name}`);
const linkOf = (path: string) =>
  lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ? readlinkSync(path) : undefined;

/** Where the programs of this machine and its Node are in a container. */
export const MOUNTS = [
  '/usr',
  ...FOLDERS.filter((path) => existsSync(path) && linkOf(path) === undefined),
]
  .map((path) => `--volume=${path}:${path}:ro`)
  .concat(`--volume=${dirname(process.execPath)}:/node:ro`);

/** A tar of what leads to them. */
export function imageTree(folder: string): Buffer {
  const tree = join(folder, 'tree');
  mkdirSync(join(tree, 'tmp'), { recursive: true });
  for (const path of FOLDERS) {
    const target = linkOf(path);
    if (target !== undefined) symlinkSync(target, join(tree, path));
  }
  return execFileSync('tar', ['--owner=0', '--group=0', '-C', tree, '-c', '.']);
}

/** What an engine mounted that was not let end in its own way. */
function unmountBelow(folder: string): void {
  const paths = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1]);
  for (const path of paths.reverse()) {
    if (path?.startsWith(`${folder}/`)) execFileSync('umount', ['--lazy', path]);
  }
}

/** In each hierarchy, with what is above them as long as it is empty. */
export function removeParents(paths: readonly string[]): void {
  const root = '/sys/fs/cgroup';
  for (const hierarchy of HYBRID ? readdirSync(root) : ['']) {
    for (const path of paths) {
      removeCgroups([join(root, hierarchy, path)]);
      try {
        for (let at = dirname(path); at !== '/'; at = dirname(at))
          rmdirSync(join(root, hierarchy, at));
      } catch {
        // Others are there.
      }
    }
  }
}

/** Builds the program that holds a stream, as one file. */
export async function buildHeldStream(outfile: string): Promise<void> {
  const entry = fileURLToPath(new URL('held-stream.ts', import.meta.url));
  await build({
    ...{ entryPoints: [entry], outfile, bundle: true, platform: 'node', format: 'cjs' },
    ...{ target: 'node20', logLevel: 'error' },
  });
}
