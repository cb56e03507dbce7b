import js from '@eslint/js';
import tseslint from 'typescript-eslint';

/**
 * The direction table: what each folder of src/ may import besides itself and `core`.
 * Siblings meet through interfaces that the asking side declares; `app.ts` fits them together.
 */
const MAY_IMPORT = {
  core: [],
  identity: [],
  attestation: ['identity'],
  policy: ['identity'],
  issuer: ['identity'],
  rotation: ['identity'],
  workload: ['identity'],
  sds: ['identity', 'gen'],
  admin: ['identity'],
  ui: ['identity'],
  page: ['ui'],
};
const FOLDERS = [...Object.keys(MAY_IMPORT), 'cli', 'gen'];

const direction = Object.entries(MAY_IMPORT).map(([folder, allowed]) => ({
  files: [`src/${folder}/**/*.ts`],
  ignores: ['**/*.test.ts'],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          {
            group: FOLDERS.filter((f) => f !== folder && f !== 'core' && !allowed.includes(f)).map(
              (f) => `../${f}/*`,
            ),
            message: `src/${folder} may import core${allowed.map((a) => `, ${a}`).join('')}: see ARCHITECTURE.md`,
          },
          {
            // Those that put the folders together.
            group: ['../*.ts'],
            message: 'imports go downward only',
          },
          ...(folder === 'core'
            ? [{ group: ['../*'], message: 'core imports nothing else of the project' }]
            : []),
        ],
      },
    ],
  },
}));

const CLOCK_BAN = [
  {
    selector: "MemberExpression[object.name='Date'][property.name='now']",
    message: 'use Clock.now',
  },
  { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: 'use Clock.now' },
  { selector: "CallExpression[callee.name='Date']", message: 'use Clock.now' },
  {
    selector: "MemberExpression[object.name='performance'][property.name='now']",
    message: 'use Clock.monotonic',
  },
  {
    selector: 'CallExpression[callee.name=/^(setTimeout|setInterval)$/]',
    message: 'use Clock.after',
  },
  {
    selector: 'ImportDeclaration[source.value=/^(node:)?timers/]',
    message: 'use Clock.after and sleep',
  },
  {
    selector: "MemberExpression[object.name='Math'][property.name='random']",
    message: 'use Random',
  },
];

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', '.cache/', 'src/gen/', 'bench/results/'] },
  js.configs.recommended,
  ...tseslint.configs.strictTypeChecked.map((c) => ({ ...c, files: ['**/*.ts'] })),
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            {
              from: 'package',
              name: ['describe', 'it', 'test', 'before', 'after'],
              package: 'node:test',
            },
          ],
        },
      ],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': 'off',
      // `await using _peer = …` is there for what it does at the end of its block.
      '@typescript-eslint/no-unused-vars': ['error', { varsIgnorePattern: '^_' }],
      '@typescript-eslint/no-unnecessary-condition': [
        'error',
        { allowConstantLoopConditions: true },
      ],
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['**/*.test.ts'],
    rules: { 'no-console': 'error' },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/core/clock.ts', 'src/core/random.ts', 'src/page/time.ts', '**/*.test.ts'],
    rules: { 'no-restricted-syntax': ['error', ...CLOCK_BAN] },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/config.ts', 'src/main.ts', '**/*.test.ts'],
    rules: {
      'no-restricted-properties': [
        'error',
        { object: 'process', property: 'env', message: 'the environment is read in config.ts' },
      ],
    },
  },
  {
    files: ['**/*.js', '**/*.mjs', '**/*.cjs'],
    languageOptions: {
      globals: {
        process: 'readonly',
        require: 'readonly',
        module: 'readonly',
        __dirname: 'readonly',
        console: 'readonly',
        URL: 'readonly',
        Buffer: 'readonly',
        setTimeout: 'readonly',
        clearTimeout: 'readonly',
        fetch: 'readonly',
        setImmediate: 'readonly',
        AbortController: 'readonly',
        performance: 'readonly',
      },
    },
  },
  ...direction,
);
