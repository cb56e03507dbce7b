// Bundles the daemon and its commands into dist/: one start-up file, heavy parts in chunks that
// load when a command needs them. Modules with native parts stay outside the bundle.
import { build } from 'esbuild';
import { chmod, readFile, rename, rm } from 'node:fs/promises';

const pkg = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'));
const root = new URL('..', import.meta.url).pathname;

// Made beside it and moved into place: what runs from dist/ meanwhile never meets half a build.
const made = `${root}dist.${process.pid}`;
await build({
  absWorkingDir: root,
  // The thread that parses large policies is a file of its own.
  entryPoints: { credence: 'src/main.ts', 'policy-reload': 'src/policy/reload-thread.ts' },
  outdir: made,
  bundle: true,
  splitting: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  // Half the bytes to parse at start; names stay, so that stack traces read.
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: 'none',
  sourcemap: false,
  // koffi is native; proto-loader is asked for by one command, and by parts of grpc-js never used here.
  external: ['koffi', '@grpc/proto-loader'],
  define: { CREDENCE_VERSION: JSON.stringify(pkg.version) },
  // CommonJS dependencies call require() for Node's own modules.
  banner: {
    js: "#!/usr/bin/env node\nimport { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
  logLevel: 'warning',
});
await chmod(`${made}/credence.js`, 0o755);
await rm(`${root}dist`, { recursive: true, force: true });
await rename(made, `${root}dist`);
