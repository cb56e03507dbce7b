// Runs the named test suites with Node's own runner and prints the time of each part:
//   node scripts/test.mjs unit integration e2e      (any of: unit integration e2e real)
import { spawnSync } from 'node:child_process';
import { globSync } from './files.mjs';
import { bootstrap } from './bootstrap.mjs';

const SUITES = {
  unit: { patterns: ['src', 'scripts', 'test/support'], concurrency: 2 },
  integration: { patterns: ['test/integration'], concurrency: 1 },
  e2e: { patterns: ['test/e2e'], concurrency: 1 },
  real: { patterns: ['test/real'], concurrency: 1 },
};

const names = process.argv.slice(2);
const unknown = names.filter((name) => !(name in SUITES));
if (unknown.length > 0 || names.length === 0) {
  console.error(`usage: node scripts/test.mjs ${Object.keys(SUITES).join('|')} ...`);
  process.exit(64);
}

await bootstrap();

const times = [];
let failed = false;
for (const name of names) {
  const { patterns, concurrency } = SUITES[name];
  const files = patterns.flatMap((folder) => globSync(folder, '.test.ts'));
  if (files.length === 0) {
    console.error(`no test files in ${patterns.join(', ')}: the suite "${name}" cannot pass`);
    process.exit(1);
  }
  console.log(`\n== ${name}: ${files.length} files`);
  const started = performance.now();
  const { status } = spawnSync(
    process.execPath,
    [
      '--import',
      'tsx',
      '--test',
      '--test-reporter=spec',
      `--test-concurrency=${concurrency}`,
      ...files,
    ],
    { stdio: 'inherit', env: { ...process.env, NODE_OPTIONS: '' } },
  );
  times.push([name, (performance.now() - started) / 1000, status]);
  failed ||= status !== 0;
}

console.log('\npart          seconds  result');
for (const [name, seconds, status] of times) {
  console.log(
    `${name.padEnd(12)} ${seconds.toFixed(1).padStart(8)}  ${status === 0 ? 'ok' : 'FAILED'}`,
  );
}
process.exit(failed ? 1 : 0);
