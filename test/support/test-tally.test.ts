import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

const REPORTER = fileURLToPath(new URL('../../scripts/test-tally.mjs', import.meta.url));

interface Tally {
  readonly tests: number;
  readonly failed: readonly string[];
  readonly left: readonly string[];
}

/** What the reporter says of a file of tests. */
function tallyOf(t: TestContext, body: string): Tally {
  const folder = mkdtempSync(join(tmpdir(), 'credence-tally-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'some.test.mjs');
  const output = join(folder, 'tally.json');
  writeFileSync(file, `import { describe, it } from 'node:test';\n${body}`);
  spawnSync(
    process.execPath,
    ['--test', `--test-reporter=${REPORTER}`, `--test-reporter-destination=${output}`, file],
    // Inside of a test run the runner would report to the outer one.
    { cwd: folder, env: { PATH: process.env['PATH'] } },
  );
  return JSON.parse(readFileSync(output, 'utf8')) as Tally;
}

describe('the count of tests', () => {
  it('counts tests and not their suites', (t) => {
    const body = "describe('a', () => { it('b', () => {}); it('c', () => {}); });";
    assert.deepEqual(tallyOf(t, body), { tests: 2, failed: [], left: [] });
  });

  it('names what failed', (t) => {
    const body = "it('a', () => { throw new Error('no'); }); it('b', () => {});";
    const { tests, failed, left } = tallyOf(t, body);
    assert.deepEqual([tests, left], [2, []]);
    assert.match(failed.join(), /^a \(some\.test\.mjs:\d+\)$/);
  });

  it('names what was skipped or left to do, however that was said, and why', (t) => {
    const { left } = tallyOf(
      t,
      [
        "it.skip('a', () => {});",
        "it('b', { skip: 'no root' }, () => {});",
        "it('c', (t) => t.skip('not here'));",
        "it('d', (t) => t.skip());",
        "it.todo('e');",
        "it('f', { todo: true }, () => {});",
        "describe('g', { skip: true }, () => { it('h', () => {}); });",
      ].join('\n'),
    );
    assert.deepEqual(
      left.map((line) => line.replace(/ \(.*\)/, '')),
      [
        'skip: a',
        'skip: b: no root',
        'skip: c: not here',
        'skip: d',
        'todo: e',
        'todo: f',
        'skip: g',
      ],
    );
  });
});
