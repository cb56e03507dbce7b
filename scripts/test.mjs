// Runs the named test suites with Node's own runner and prints the time of each part:
//   node scripts/test.mjs unit integration e2e      (any of: unit integration e2e real)
// A test that is skipped or left to do fails its suite: what was not proven is not passed.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bootstrap } from './bootstrap.mjs';
import { globSync } from './files.mjs';

const SUITES = {
  unit: { folders: ['src', 'scripts', 'test/support'], concurrency: 2 },
  integration: { folders: ['test/integration'], concurrency: 1 },
  e2e: { folders: ['test/e2e'], concurrency: 1 },
  real: { folders: ['test/real', 'test/browser'], concurrency: 1 },
};

const names = process.argv.slice(2);
const unknown = names.filter((name) => !Object.hasOwn(SUITES, name));
if (unknown.length > 0 || names.length === 0) {
  console.error(`usage: node scripts/test.mjs ${Object.keys(SUITES).join('|')} ...`);
  process.exit(64);
}

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
await bootstrap();

const results = names.map(runSuite);
console.log('\npart          seconds  tests  result');
for (const { name, seconds, tests, faults } of results) {
  const row = [name.padEnd(12), seconds.toFixed(1).padStart(8), String(tests).padStart(6)];
  console.log(`${row.join(' ')}  ${faults.length === 0 ? 'ok' : 'FAILED'}`);
  for (const fault of faults) console.log(`             ${fault}`);
}
process.exit(results.some(({ faults }) => faults.length > 0) ? 1 : 0);

function runSuite(name) {
  const { folders, concurrency } = SUITES[name];
  const files = folders.flatMap((folder) => globSync(folder, '.test.ts'));
  const started = performance.now();
  const done = (tests, faults) => ({
    name,
    tests,
    faults,
    seconds: (performance.now() - started) / 1000,
  });
  if (files.length === 0) return done(0, [`there are no test files in ${folders.join(', ')}`]);
  console.log(`\n== ${name}: ${files.length} files, Node ${process.version}`);
  const work = mkdtempSync(join(tmpdir(), 'credence-tests-'));
  try {
    const tally = join(work, 'tally.json');
    const { status, signal, error } = spawnSync(
      process.execPath,
      [
        ...[
          '--disable-warning=ExperimentalWarning',
          '--import',
          'tsx',
          '--test',
          `--test-concurrency=${concurrency}`,
        ],
        ...['--test-reporter=spec', '--test-reporter-destination=stdout'],
        ...['--test-reporter=./scripts/test-tally.mjs', `--test-reporter-destination=${tally}`],
        ...files,
      ],
      // Options of whoever started this would reach the runner and the daemons it starts.
      { stdio: 'inherit', env: { ...process.env, NODE_OPTIONS: '', NODE_TEST_CONTEXT: undefined } },
    );
    const faults = [];
    if (status !== 0) {
      faults.push(`the test runner ended with ${error?.message ?? signal ?? `code ${status}`}`);
    }
    const counted = readTally(tally);
    if (!counted) return done(0, [...faults, 'the test runner left no count of its tests']);
    if (counted.tests === 0) faults.push('no test ran');
    faults.push(...counted.failed.map((test) => `failed: ${test}`));
    return done(counted.tests, [...faults, ...counted.left]);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function readTally(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}
