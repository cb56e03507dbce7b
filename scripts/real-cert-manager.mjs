// Builds cert-manager's controllers for test/real from Go's module proxy, with its CRDs beside them.
// Kept in .cache/go; a first time takes three minutes.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MODULE = 'github.com/cert-manager/cert-manager';
const VERSION = 'v1.21.2';

const here = fileURLToPath(new URL('.', import.meta.url));
const cache = join(here, '../.cache/go');
const bin = join(cache, 'bin');
const source = join(cache, `cert-manager-${VERSION}`);
const env = { ...process.env, CGO_ENABLED: '0', GOFLAGS: '-mod=mod' };

if (!existsSync(join(bin, 'cert-manager'))) build();

function build() {
  mkdirSync(bin, { recursive: true });
  mkdirSync(source, { recursive: true });
  const started = Date.now();
  console.error('credence: building cert-manager, once');
  const { Dir, GoMod } = JSON.parse(
    run(['mod', 'download', '-json', `${MODULE}@${VERSION}`], cache),
  );
  const { Go, Godebug, Require } = JSON.parse(run(['mod', 'edit', '-json', GoMod], cache));
  const lines = [
    ...['module wrapper', `go ${Go}`],
    ...(Godebug ?? []).map(({ Key, Value }) => `godebug ${Key}=${Value}`),
    `require ${MODULE} ${VERSION}`,
    ...Require.map(({ Path, Version }) => `require ${Path} ${Version} // indirect`),
  ];
  writeFileSync(join(source, 'go.mod'), `${lines.join('\n')}\n`);
  cpSync(join(here, 'cert-manager/main.go'), join(source, 'main.go'));
  // First what lies beside it: that the program is there says that all of it is.
  const crds = join(cache, 'cert-manager-crds');
  rmSync(crds, { recursive: true, force: true });
  cpSync(join(Dir, 'deploy/crds'), crds, { recursive: true });
  run(['build', '-trimpath', '-ldflags', '-s -w', '-o', join(bin, 'cert-manager'), '.'], source);
  console.error(`credence: done in ${((Date.now() - started) / 1000).toFixed(0)} s`);
}

function run(args, cwd) {
  const { status, stdout, stderr } = spawnSync('go', args, {
    ...{ cwd, env, encoding: 'utf8', maxBuffer: 1 << 26 },
  });
  if (status === 0) return stdout;
  console.error(`credence: go ${args.join(' ')} failed\n${stderr?.slice(-2000) ?? ''}`);
  process.exit(1);
}
