// Builds the image of the Dockerfile where no registry is, for the tests of test/real: the base is Debian
// by debootstrap with the Node 24 of npm's registry. Leaves .cache/image/credence.tar.
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const cache = join(root, '.cache/image');
const base = join(cache, 'base');
const archive = join(cache, 'credence.tar');
const CERTIFICATES = 'etc/ssl/certs/ca-certificates.crt';
const storage = ['vfs', join(cache, 'storage'), join(cache, 'run')];
const [driver, store, state] = storage;

const newest = Math.max(
  ...['src', 'scripts', 'protos'].map(newestBelow),
  ...['Dockerfile', '.dockerignore', 'package-lock.json'].map((name) => time(join(root, name))),
);
if (time(archive) < newest) {
  if (!existsSync(join(base, 'done'))) makeBase();
  say('building the image');
  buildah(
    'bud',
    '--isolation',
    'chroot',
    '--build-arg',
    'BUILD=localhost/base',
    '-t',
    'credence',
    root,
  );
  rmSync(archive, { force: true });
  buildah(
    'push',
    '-q',
    'localhost/credence',
    `docker-archive:${archive}:docker.io/library/credence:0.1.0`,
  );
}

function makeBase() {
  say('making a base for the image, once');
  rmSync(cache, { recursive: true, force: true });
  mkdirSync(cache, { recursive: true });
  run('debootstrap', '--variant=minbase', '--include=ca-certificates,libstdc++6', 'bookworm', base);
  const registry = join(cache, 'npm');
  mkdirSync(registry);
  const node = `node-linux-${process.arch}`;
  const quiet = ['--no-save', '--no-audit', '--no-fund', '--loglevel=error'];
  run('npm', 'install', '--prefix', registry, ...quiet, `${node}@24`, 'npm@11');
  const local = join(base, 'usr/local');
  copyFileSync(join(registry, 'node_modules', node, 'bin/node'), join(local, 'bin/node'));
  cpSync(join(registry, 'node_modules/npm'), join(local, 'lib/node_modules/npm'), {
    recursive: true,
  });
  symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', join(local, 'bin/npm'));
  // The registry that this machine uses, and the authorities that it trusts.
  copyFileSync(join('/', CERTIFICATES), join(base, CERTIFICATES));
  const address = run('npm', 'config', 'get', 'registry').trim();
  mkdirSync(join(local, 'etc'), { recursive: true });
  writeFileSync(join(local, 'etc/npmrc'), `registry=${address}\ncafile=/${CERTIFICATES}\n`);
  writeFileSync(join(base, 'done'), '');
  const container = buildah('from', 'scratch').trim();
  buildah('add', '-q', container, base, '/');
  buildah('commit', '-q', container, 'localhost/base');
  buildah('rm', container);
}

function buildah(...args) {
  return run('buildah', '--storage-driver', driver, '--root', store, '--runroot', state, ...args);
}

function run(command, ...args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  if (status === 0) return stdout;
  say(`${command} ${args.join(' ')} failed: ${error?.message ?? ''}`);
  console.error(`${stdout ?? ''}${stderr ?? ''}`.slice(-3000));
  process.exit(1);
}

function time(path) {
  return existsSync(path) ? statSync(path).mtimeMs : 0;
}

function newestBelow(folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((max, e) => Math.max(max, time(join(e.parentPath ?? e.path, e.name))), 0);
}

function say(text) {
  console.error(`credence: ${text}`);
}
