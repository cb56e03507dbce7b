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
  cgroup: [],
  kubernetes: ['identity', 'cgroup'],
  containers: ['identity', 'cgroup'],
  systemd: ['identity'],
  manifests: ['identity'],
  policy: ['identity', 'manifests'],
  federation: ['identity'],
  'cluster-ids': ['identity', 'manifests'],
  audit: ['identity'],
  issuer: ['identity'],
  signer: ['identity', 'issuer', 'kubernetes'],
  vault: ['identity', 'issuer'],
  pkcs11: ['identity', 'issuer'],
  'kube-ca': ['identity', 'issuer', 'kubernetes'],
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

/** The files that fit the folders together: commands and pages start at `main.ts`. */
const fitting = [
  {
    files: ['src/*.ts'],
    ignores: ['src/main.ts', '**/*.test.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              regex: '^\\./(app\\.ts$|main\\.ts$|cli/|ui/|page/)',
              message: 'only cli and main know these: see ARCHITECTURE.md',
            },
          ],
        },
      ],
    },
  },
  {
    files: ['src/cli/**/*.ts'],
    ignores: ['**/*.test.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              regex: '^\\.\\./(main\\.ts$|page/)',
              message: 'main starts the commands, the page is for the browser',
            },
          ],
        },
      ],
    },
  },
];

/** Ways around the direction table: `no-restricted-imports` sees declarations only. */
const IMPORT_BAN = [
  {
    selector: 'ImportExpression[source.value=/^\\./], ImportExpression[source.type!="Literal"]',
    message: 'import the file in a declaration, where the direction table sees it',
  },
  {
    selector: 'TSImportType',
    message: 'import the type in a declaration, where the direction table sees it',
  },
];

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
    selector: "MemberExpression[object.name='process'][property.name='hrtime']",
    message: 'use Clock.monotonic',
  },
  {
    selector: 'ImportDeclaration[source.value=/^(node:)?(process|perf_hooks)$/]',
    message: 'use Clock.monotonic; process is there without an import',
  },
  {
    selector: "MemberExpression[object.name='Math'][property.name='random']",
    message: 'use Random',
  },
  {
    selector: 'MemberExpression[object.name=/^(globalThis|global)$/]',
    message: 'name what is meant without this detour',
  },
  {
    selector:
      "VariableDeclarator[id.type='ObjectPattern'][init.name=/^(Date|Math|performance|globalThis|global)$/]",
    message: 'call it where it belongs',
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
  // The last block that fits a file gives the whole rule.
  {
    files: ['src/**/*.ts'],
    ignores: ['**/*.test.ts'],
    rules: { 'no-restricted-syntax': ['error', ...CLOCK_BAN, ...IMPORT_BAN] },
  },
  {
    files: ['src/core/clock.ts', 'src/core/random.ts', 'src/page/time.ts'],
    rules: { 'no-restricted-syntax': ['error', ...IMPORT_BAN] },
  },
  {
    // Any folder, and each command when it is called for.
    files: ['src/cli/**/*.ts'],
    ignores: ['**/*.test.ts'],
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
  ...fitting,
);
