import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ESLint } from 'eslint';

const RULES = ['no-restricted-imports', 'no-restricted-syntax', 'no-restricted-properties'];

/** The project's own rules without those that need types. */
const eslint = new ESLint({
  cwd: fileURLToPath(new URL('../..', import.meta.url)),
  overrideConfig: { languageOptions: { parserOptions: { projectService: false } } },
  ruleFilter: ({ ruleId }) => RULES.includes(ruleId),
});

/** The rules that this text would break if it stood in that file. */
async function complaints(filePath: string, text: string): Promise<readonly string[]> {
  const [result] = await eslint.lintText(text, { filePath });
  assert.ok(result);
  return [...new Set(result.messages.map(({ ruleId, message }) => ruleId ?? message))];
}

const IMPORTS = ['no-restricted-imports'];
const SYNTAX = ['no-restricted-syntax'];

/** File, text, and the rules that stop it. */
const CASES: readonly (readonly [string, string, readonly string[]])[] = [
  ['src/policy/policy.ts', "import '../issuer/issuer.ts';", IMPORTS],
  ['src/policy/policy.ts', "import type { Issuer } from '../issuer/issuer.ts';", IMPORTS],
  ['src/policy/policy.ts', "export * from '../issuer/issuer.ts';", IMPORTS],
  ['src/policy/policy.ts', "import '../app.ts';", IMPORTS],
  ['src/policy/policy.ts', "import '../identity/svid.ts'; import '../core/log.ts';", []],
  ['src/policy/policy.test.ts', "import '../issuer/issuer.ts';", []],
  ['src/identity/svid.ts', "import '../policy/policy.ts';", IMPORTS],
  ['src/core/log.ts', "import '../identity/svid.ts';", IMPORTS],
  ['src/page/main.ts', "import '../cli/run.ts';", IMPORTS],

  ['src/policy/policy.ts', "await import('../issuer/issuer.ts');", SYNTAX],
  ['src/policy/policy.ts', 'await import(`../issuer/issuer.ts`);', SYNTAX],
  ['src/policy/policy.ts', "let a: import('../issuer/issuer.ts').Issuer;", SYNTAX],
  ['src/core/clock.ts', "await import('../issuer/issuer.ts');", SYNTAX],
  ['src/policy/policy.ts', "await import('jose');", []],
  ['src/cli/commands.ts', "await import('./run.ts'); await import('../config.ts');", []],

  ['src/serving.ts', "import './cli/run.ts';", IMPORTS],
  ['src/serving.ts', "import './app.ts';", IMPORTS],
  ['src/serving.ts', "import './main.ts';", IMPORTS],
  ['src/serving.ts', "import './ui/server.ts';", IMPORTS],
  ['src/serving.ts', "await import('./cli/run.ts');", SYNTAX],
  ['src/serving.ts', "import './sds/server.ts'; import './config.ts';", []],
  ['src/main.ts', "import './cli/program.ts';", []],
  ['src/cli/run.ts', "import '../app.ts'; import '../policy/load.ts';", []],
  ['src/cli/run.ts', "import '../main.ts';", IMPORTS],
  ['src/cli/run.ts', "import '../page/main.ts';", IMPORTS],

  ['src/policy/policy.ts', 'Date.now();', SYNTAX],
  ['src/policy/policy.ts', 'new Date();', SYNTAX],
  ['src/policy/policy.ts', 'new Date(0);', []],
  ['src/policy/policy.ts', 'performance.now();', SYNTAX],
  ['src/policy/policy.ts', 'process.hrtime();', SYNTAX],
  ['src/policy/policy.ts', 'process.hrtime.bigint();', SYNTAX],
  ['src/policy/policy.ts', "import { hrtime } from 'node:process';", SYNTAX],
  ['src/policy/policy.ts', 'setTimeout(() => {}, 1);', SYNTAX],
  ['src/policy/policy.ts', 'globalThis.setTimeout(() => {}, 1);', SYNTAX],
  ['src/policy/policy.ts', "import { setTimeout } from 'node:timers/promises';", SYNTAX],
  ['src/policy/policy.ts', 'const { now } = Date;', SYNTAX],
  ['src/policy/policy.ts', 'Math.random();', SYNTAX],
  ['src/serving.ts', 'Date.now();', SYNTAX],
  ['src/cli/run.ts', 'Date.now();', SYNTAX],
  ['src/core/clock.ts', 'Date.now();', []],
  ['src/policy/policy.test.ts', 'Date.now();', []],

  ['src/serving.ts', 'process.env;', ['no-restricted-properties']],
  ['src/config.ts', 'process.env;', []],
];

describe('the rules for production code', () => {
  for (const [file, text, expected] of CASES) {
    it(`${expected.length === 0 ? 'let' : 'stop'} ${text} in ${file}`, async () => {
      assert.deepEqual(await complaints(file, text), expected);
    });
  }
});
