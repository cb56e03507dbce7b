// Builds what the tests of test/real need and Debian does not have, from Go's module proxy: Kubernetes
// and Helm. Kept in .cache/go; a first time takes a quarter of an hour.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const KUBERNETES = '1.34.4';
const KUBERNETES_PARTS = [
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kubelet',
  'kubectl',
];
const TOOLS = { helm: 'helm.sh/helm/v3/cmd/helm@v3.22.0' };

const cache = fileURLToPath(new URL('../.cache/go', import.meta.url));
const bin = join(cache, 'bin');
const source = join(cache, `kubernetes-${KUBERNETES}`);
const env = { ...process.env, CGO_ENABLED: '0', GOBIN: bin, GOFLAGS: '-mod=mod' };

const parts = KUBERNETES_PARTS.filter((name) => !existsSync(join(bin, name)));
const tools = Object.keys(TOOLS).filter((name) => !existsSync(join(bin, name)));
if (parts.length + tools.length > 0) {
  if (spawnSync('go', ['version']).status !== 0) {
    console.error('credence: Go 1.24 or newer is needed to build Kubernetes for the tests');
    process.exit(1);
  }
  mkdirSync(bin, { recursive: true });
  if (parts.length > 0) wrapKubernetes();
  for (const name of parts) build(name, ['build', ...flags(), '-o', join(bin, name), pkg(name)]);
  for (const name of tools) build(name, ['install', ...flags(), TOOLS[name]], cache);
}

function pkg(name) {
  return `k8s.io/kubernetes/cmd/${name}`;
}

function flags() {
  const version = 'k8s.io/component-base/version';
  const [major, minor] = KUBERNETES.split('.');
  const set = { gitVersion: `v${KUBERNETES}`, gitMajor: major, gitMinor: minor };
  const stamps = Object.entries(set).map(([key, value]) => `-X ${version}.${key}=${value}`);
  return ['-trimpath', '-ldflags', ['-s -w', ...stamps].join(' ')];
}

function build(name, args, cwd = source) {
  console.error(`credence: building ${name}, once`);
  const started = Date.now();
  run('go', args, cwd);
  console.error(`credence: done in ${((Date.now() - started) / 1000).toFixed(0)} s`);
}

/**
 * Kubernetes replaces its staging modules by folders of its own, which Go refuses in a module that is
 * fetched: a module around it replaces them by the published ones, with the versions it asks for.
 */
function wrapKubernetes() {
  if (existsSync(join(source, 'go.sum'))) return;
  mkdirSync(source, { recursive: true });
  const found = run('go', ['mod', 'download', '-json', `k8s.io/kubernetes@v${KUBERNETES}`], cache);
  const { Go, Godebug, Require, Replace } = JSON.parse(
    run('go', ['mod', 'edit', '-json', JSON.parse(found).GoMod], cache),
  );
  const staging = `v0.${KUBERNETES.split('.').slice(1).join('.')}`;
  const lines = [
    'module wrapper',
    `go ${Go}`,
    ...(Godebug ?? []).map(({ Key, Value }) => `godebug ${Key}=${Value}`),
    `require k8s.io/kubernetes v${KUBERNETES}`,
    ...Require.filter(({ Version }) => Version !== 'v0.0.0').map(
      ({ Path, Version, Indirect }) =>
        `require ${Path} ${Version}${Indirect ? ' // indirect' : ''}`,
    ),
    ...Replace.filter(({ New }) => New.Path.startsWith('./staging/')).map(
      ({ Old }) => `replace ${Old.Path} => ${Old.Path} ${staging}`,
    ),
  ];
  writeFileSync(join(source, 'go.mod'), `${lines.join('\n')}\n`);
  const imports = KUBERNETES_PARTS.map((name) => `import _ "${pkg(name)}"\n`).join('');
  writeFileSync(join(source, 'tools.go'), `//go:build tools\npackage tools\n${imports}`);
  console.error(`credence: fetching Kubernetes ${KUBERNETES}`);
  run('go', ['mod', 'tidy', '-e'], source);
  if (!readFileSync(join(source, 'go.sum'), 'utf8').includes('k8s.io/')) process.exit(1);
}

function run(command, args, cwd) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd,
    env,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  if (status === 0) return stdout;
  console.error(`credence: ${command} ${args.join(' ')} failed\n${stderr.slice(-2000)}`);
  process.exit(1);
}
