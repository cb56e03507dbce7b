// npm run check: everything that has to hold before a change is taken, with the time of each part.
// Goes on after a failure and lists what failed at the end.
//
//   node scripts/check.mjs [--without tests]
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { bootstrap } from './bootstrap.mjs';

/** What Node runs for each part; cheapest first. */
const PARTS = {
  generated: ['scripts/generate.mjs', '--check'],
  types: ['node_modules/typescript/bin/tsc'],
  page: ['node_modules/typescript/bin/tsc', '-p', 'src/page'],
  format: ['node_modules/prettier/bin/prettier.cjs', '--check', '.'],
  lint: ['node_modules/eslint/bin/eslint.js', '.', '--max-warnings=0'],
  tests: ['scripts/test.mjs', 'unit', 'integration', 'e2e'],
};

let values;
try {
  ({ values } = parseArgs({ options: { without: { type: 'string', multiple: true } } }));
} catch (error) {
  usage(error.message);
}
const without = values.without ?? [];
for (const name of without) if (!Object.hasOwn(PARTS, name)) usage(`there is no part "${name}"`);

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
await bootstrap();

const rows = [];
for (const [name, args] of Object.entries(PARTS)) {
  if (without.includes(name)) continue;
  console.log(`\n== ${name}`);
  const started = performance.now();
  const { status } = spawnSync(process.execPath, args, { stdio: 'inherit' });
  rows.push({ name, seconds: (performance.now() - started) / 1000, ok: status === 0 });
}

console.log('\ncheck         seconds  result');
for (const { name, seconds, ok } of rows) {
  console.log(`${name.padEnd(12)} ${seconds.toFixed(1).padStart(8)}  ${ok ? 'ok' : 'FAILED'}`);
}
const failed = rows.filter(({ ok }) => !ok).map(({ name }) => name);
if (failed.length > 0) console.error(`\nfailed: ${failed.join(', ')}`);
process.exit(failed.length > 0 ? 1 : 0);

function usage(reason) {
  console.error(
    `${reason}\nusage: node scripts/check.mjs [--without ${Object.keys(PARTS).join('|')}]...`,
  );
  process.exit(64);
}
