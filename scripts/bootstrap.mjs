// Makes a fresh clone usable: installs the locked dependencies and builds, but only what is missing
// or older than its source. Needs nothing but Node's own modules.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const FLOOR = [20, 19];
/** What ends up in dist/ besides src/, or decides how. */
const BUILT_WITH = [
  'scripts/build.mjs',
  'scripts/build-page.mjs',
  'scripts/external.mjs',
  'scripts/launcher.cjs',
  'scripts/in-pod.cjs',
  'scripts/code-cache.cjs',
  'package.json',
];

function time(path) {
  return existsSync(join(root, path)) ? statSync(join(root, path)).mtimeMs : 0;
}

function newest(folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((max, e) => Math.max(max, statSync(join(e.parentPath ?? e.path, e.name)).mtimeMs), 0);
}

function step(label, command, args) {
  console.error(`credence: ${label} (${[command, ...args].join(' ')})`);
  const started = Date.now();
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (status !== 0) {
    console.error(`credence: ${label} failed${error ? `: ${error.message}` : ''}`);
    process.exit(1);
  }
  console.error(`credence: done in ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

/** Whether dist/ is there and newer than all it is made of. */
export function isBuilt() {
  return time('dist/credence.js') >= Math.max(newest('src'), ...BUILT_WITH.map(time));
}

/** Installs and builds what is missing. */
export async function bootstrap() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < FLOOR[0] || (major === FLOOR[0] && minor < FLOOR[1])) {
    console.error(
      `credence: Node ${FLOOR.join('.')} or newer is needed, this is ${process.version}`,
    );
    process.exit(1);
  }
  if (time('node_modules/.package-lock.json') < time('package-lock.json')) {
    step('installing dependencies, once', 'npm', [
      'ci',
      // Also where NODE_ENV is production: the build is made here.
      '--include=dev',
      '--no-audit',
      '--no-fund',
      '--loglevel=error',
    ]);
  }
  if (!isBuilt()) {
    step('building', process.execPath, ['scripts/build.mjs']);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await bootstrap();
