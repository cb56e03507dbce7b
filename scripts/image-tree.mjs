// Lays out what the image holds, and nothing else: Node with its libraries, the build, and of
// node_modules what the build keeps outside of itself.
//   node scripts/image-tree.mjs DIR
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EXTERNAL } from './external.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const HOME = 'opt/credence';
const NODE = '/usr/bin/node';

const [tree] = process.argv.slice(2);
if (tree === undefined) {
  console.error('usage: node scripts/image-tree.mjs DIR');
  process.exit(64);
}

putFile(process.execPath, NODE);
for (const path of librariesOf(process.execPath)) putFile(path, path);
cpSync(join(root, 'dist'), join(tree, HOME, 'dist'), { recursive: true });
for (const name of packagesOf(EXTERNAL)) {
  const folder = join('node_modules', name);
  cpSync(join(root, folder), join(tree, HOME, folder), { recursive: true, dereference: true });
}
copyFileSync(join(root, 'LICENSE'), join(tree, HOME, 'LICENSE'));
// There is no `env` to look Node up.
writeFileSync(join(tree, 'usr/bin/credence'), `#!${NODE}\nrequire('/${HOME}/dist/credence.js');\n`);
chmodSync(join(tree, 'usr/bin/credence'), 0o755);
mkdirSync(join(tree, 'etc'), { recursive: true });
writeFileSync(join(tree, 'etc/passwd'), 'root:x:0:0:root:/:/nonexistent\n');
writeFileSync(join(tree, 'etc/group'), 'root:x:0:\n');
protect(tree);

function putFile(from, to) {
  const path = join(tree, to);
  mkdirSync(dirname(path), { recursive: true });
  copyFileSync(realpathSync(from), path);
  chmodSync(path, 0o755);
}

/** What the loader opens for an executable, the loader itself included. */
function librariesOf(executable) {
  const out = execFileSync('ldd', [executable], { encoding: 'utf8' });
  return Array.from(out.matchAll(/(?:=> |^\s*)(\/\S+) \(0x/gm), ([, path]) => path);
}

/** The named packages with all that they need, as far as it is installed for this platform. */
function packagesOf(names, found = new Set()) {
  for (const name of names) {
    const manifest = join(root, 'node_modules', name, 'package.json');
    if (found.has(name) || !existsSync(manifest)) continue;
    found.add(name);
    const { dependencies = {}, optionalDependencies = {} } = JSON.parse(
      readFileSync(manifest, 'utf8'),
    );
    packagesOf(Object.keys({ ...dependencies, ...optionalDependencies }), found);
  }
  return found;
}

/** Nothing in the image is anybody's to write. */
function protect(path) {
  const stats = lstatSync(path);
  if (stats.isSymbolicLink()) return;
  if (stats.isDirectory()) for (const name of readdirSync(path)) protect(join(path, name));
  chmodSync(path, (stats.mode & 0o555) | (stats.isDirectory() ? 0o555 : 0o444));
}
