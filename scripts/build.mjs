// Bundles the daemon and its commands into dist/, with V8's compiled form of it beside the text.
// Modules with native parts stay outside the bundle.
import { spawnSync } from 'node:child_process';
import { chmod, copyFile, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { buildPage } from './build-page.mjs';
import { EXTERNAL } from './external.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const pkg = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));

// Made beside it and moved into place: what runs from dist/ meanwhile never meets half a build.
const made = join(root, `dist.${process.pid}`);
await build({
  absWorkingDir: root,
  // The thread that parses large policies is a file of its own, and so is the process of a PKCS#11 module.
  entryPoints: {
    bundle: 'src/main.ts',
    'policy-reload': 'src/policy/reload-thread.ts',
    'pkcs11-token': 'src/pkcs11/token-main.ts',
  },
  outdir: made,
  outExtension: { '.js': '.cjs' },
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  // Half the bytes to read at start; names stay, so that stack traces read.
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: 'none',
  sourcemap: false,
  external: EXTERNAL,
  // Parts that load when a command needs them are in the same file, evaluated on demand.
  supported: { 'dynamic-import': false },
  define: {
    CREDENCE_VERSION: JSON.stringify(pkg.version),
    'import.meta.url': '__bundleUrl',
    'import.meta.resolve': 'undefined',
  },
  banner: { js: 'const __bundleUrl = require("node:url").pathToFileURL(__filename).href;' },
  logLevel: 'warning',
});
// The launcher calls it with what a module gets; the text is not put together at each start.
const text = await readFile(join(made, 'bundle.cjs'), 'latin1');
await writeFile(
  join(made, 'bundle.cjs'),
  `(function (require, module, exports, __filename, __dirname) {${text}\n})`,
  'latin1',
);
await copyFile(join(root, 'scripts/launcher.cjs'), join(made, 'credence.js'));
await chmod(join(made, 'credence.js'), 0o755);
await copyFile(join(root, 'scripts/in-pod.cjs'), join(made, 'in-pod.js'));
await writeFile(join(made, 'package.json'), '{ "type": "commonjs" }\n');
await writeFile(join(made, 'ui.html'), await buildPage(root));
await compile();
await rm(join(root, 'dist'), { recursive: true, force: true });
await rename(made, join(root, 'dist'));

/** Starts the new build twice, first to make its CA, then to see what a usual start compiles. */
async function compile() {
  const home = await mkdtemp(join(tmpdir(), 'credence-build-'));
  try {
    const config = join(home, 'credence.yaml');
    await writeFile(
      config,
      'trust_domain: build.invalid\nsocket_path: api.sock\nadmin_socket_path: admin.sock\ndata_dir: data\n' +
        "telemetry: { metrics_address: '', log_level: error }\n",
    );
    const args = [join(root, 'scripts/code-cache.cjs'), made, config, join(home, 'api.sock')];
    for (let run = 0; run < 2; run++) {
      await rm(join(home, 'api.sock'), { force: true });
      const { status } = spawnSync(process.execPath, args, {
        stdio: ['ignore', 'ignore', 'inherit'],
        env: { PATH: process.env.PATH },
        timeout: 20_000,
      });
      if (status !== 0) {
        console.error('credence: the build could not be started here; it will start slower');
        return;
      }
      if (run === 0) await rm(join(made, 'bundle.cache'));
    }
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}
