import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:https';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startChild, type Child } from './child.ts';
import { eventually } from './eventually.ts';
import { freePort } from './ports.ts';

/** Where scripts/real-binaries.mjs puts what it builds. */
export const BIN = fileURLToPath(new URL('../../.cache/go/bin', import.meta.url));

/** Those that the manifests need; a scheduler beside them. */
const CONTROLLERS = [
  'serviceaccount-controller',
  'root-ca-certificate-publisher-controller',
  'node-lifecycle-controller',
  'daemonset-controller',
  'deployment-controller',
  'replicaset-controller',
  'job-controller',
  'ttl-after-finished-controller',
  'garbage-collector-controller',
  'namespace-controller',
  'endpointslice-controller',
];

/**
 * The address of the Service `kubernetes`. The server itself listens there: the node's packets for it,
 * and those of pods, need no kube-proxy then.
 */
const SERVICE_ADDRESS = '10.96.0.1';
const PORT = 443;

/** A real API server with etcd, controllers and scheduler, on loopback. */
export interface Cluster extends AsyncDisposable {
  /** Everything of it, removed at the end. */
  readonly folder: string;
  readonly kubeconfig: string;
  /** The folder of its certificates. */
  readonly pki: string;
  /** Runs kubectl as the administrator; throws with what it wrote to stderr. */
  readonly kubectl: (args: readonly string[], input?: string) => string;
  helm(args: readonly string[]): string;
  /** A certificate for a subject, signed by the cluster's CA; the paths without `.crt` and `.key`. */
  sign(path: string, subject: string, extensions: string): void;
}

/** @param more arguments of the API server, for what is off by default */
export async function startCluster(...more: readonly string[]): Promise<Cluster> {
  for (const name of ['kube-apiserver', 'kubectl', 'helm']) {
    if (!existsSync(join(BIN, name))) throw new Error(`no ${name}: npm run test:real builds it`);
  }
  // Short: a path of a Unix socket has 107 bytes.
  const folder = mkdtempSync('/tmp/credence-kube-');
  const pki = join(folder, 'pki');
  mkdirSync(pki);
  const [etcd, peer] = [await freePort(), await freePort()];
  const sign = makePki(pki);
  const kubeconfig = writeKubeconfig(join(folder, 'kubeconfig'), pki, 'admin');
  const children: Child[] = [];
  const start = async (path: string, args: readonly string[]) =>
    children.push(await startChild(path, args, { cwd: pki, env: { PATH: process.env['PATH'] } }));
  const close = async () => {
    for (const child of children.reverse()) await child.stop();
    loopback('del');
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    loopback('add');
    await start('etcd', [
      ...['--name=e', `--data-dir=${folder}/etcd`, '--unsafe-no-fsync'],
      ...['listen-client', 'advertise-client'].map((n) => `--${n}-urls=http://127.0.0.1:${etcd}`),
      ...['listen-peer', 'initial-advertise-peer'].map(
        (n) => `--${n}-urls=http://127.0.0.1:${peer}`,
      ),
      `--initial-cluster=e=http://127.0.0.1:${peer}`,
    ]);
    await start(join(BIN, 'kube-apiserver'), [...apiServerArgs(etcd), ...more]);
    const log = () => children.at(-1)?.log().slice(-2000) ?? '';
    await eventually(() => isReady(pki), {
      ...{ what: 'the API server', timeoutMs: 60_000 },
      hopeless: () => children.map((child) => child.ended()).find(Boolean) && log(),
    });
    const common = ['--leader-elect=false', '--bind-address=127.0.0.1'];
    await start(join(BIN, 'kube-controller-manager'), [
      ...[...common, `--kubeconfig=${kubeconfig}`, `--secure-port=${await freePort()}`],
      `--controllers=${CONTROLLERS.join(',')}`,
      ...['--root-ca-file=ca.crt', '--service-account-private-key-file=sa.key'],
    ]);
    await start(join(BIN, 'kube-scheduler'), [
      ...[...common, `--kubeconfig=${kubeconfig}`, `--secure-port=${await freePort()}`],
    ]);
  } catch (thrown) {
    await close();
    throw thrown;
  }
  const env = { PATH: process.env['PATH'], HOME: folder, KUBECONFIG: kubeconfig };
  const run = (name: string) => (args: readonly string[], input?: string) =>
    execFileSync(join(BIN, name), args, {
      ...{ env, encoding: 'utf8', timeout: 180_000, maxBuffer: 1 << 26 },
      ...(input === undefined ? {} : { input }),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
  return {
    ...{ folder, pki, sign, kubeconfig },
    kubectl: run('kubectl'),
    helm: run('helm'),
    [Symbol.asyncDispose]: close,
  };
}

function loopback(what: 'add' | 'del'): void {
  execFileSync('ip', ['addr', what, `${SERVICE_ADDRESS}/32`, 'dev', 'lo'], { stdio: 'ignore' });
}

function apiServerArgs(etcd: number): string[] {
  const issuer = 'https://kubernetes.default.svc.cluster.local';
  return [
    ...[`--etcd-servers=http://127.0.0.1:${etcd}`, `--secure-port=${PORT}`],
    ...[`--bind-address=${SERVICE_ADDRESS}`, `--advertise-address=${SERVICE_ADDRESS}`],
    ...['--tls-cert-file=apiserver.crt', '--tls-private-key-file=apiserver.key'],
    ...['--client-ca-file=ca.crt', `--service-account-issuer=${issuer}`],
    ...['--service-account-signing-key-file=sa.key', '--service-account-key-file=sa.pub'],
    ...['--service-cluster-ip-range=10.96.0.0/16', '--endpoint-reconciler-type=none'],
    ...['--authorization-mode=Node,RBAC', '--enable-admission-plugins=NodeRestriction'],
    ...['--allow-privileged=true', '--profiling=false'],
    ...['--kubelet-certificate-authority=ca.crt', '--kubelet-client-certificate=kubelet.crt'],
    '--kubelet-client-key=kubelet.key',
    '--kubelet-preferred-address-types=InternalIP',
  ];
}

/** The cluster's CA, and what the server and the administrator show. */
function makePki(folder: string) {
  const openssl = (...args: string[]) =>
    execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'ignore', 'ignore'] });
  const newKey = (path: string) =>
    openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${path}.key`);
  newKey('ca');
  const usage = ['-addext', 'keyUsage=critical,keyCertSign,digitalSignature'];
  openssl(
    'req',
    '-x509',
    '-key',
    'ca.key',
    '-subj',
    '/CN=kube',
    '-days',
    '2',
    ...usage,
    '-out',
    'ca.crt',
  );
  openssl('genrsa', '-out', 'sa.key', '2048');
  openssl('rsa', '-in', 'sa.key', '-pubout', '-out', 'sa.pub');
  const sign = (path: string, subject: string, extensions: string) => {
    newKey(path);
    writeFileSync(join(folder, 'ext'), `keyUsage=critical,digitalSignature\n${extensions}\n`);
    openssl('req', '-new', '-key', `${path}.key`, '-subj', subject, '-out', join(folder, 'csr'));
    const by = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2'];
    openssl('x509', '-req', '-in', 'csr', ...by, '-extfile', 'ext', '-out', `${path}.crt`);
  };
  const names = 'subjectAltName=IP:10.96.0.1,DNS:kubernetes.default.svc';
  sign('apiserver', '/CN=kube-apiserver', `extendedKeyUsage=serverAuth\n${names}`);
  sign('admin', '/O=system:masters/CN=admin', 'extendedKeyUsage=clientAuth');
  sign('kubelet', '/O=system:masters/CN=kubelet-client', 'extendedKeyUsage=clientAuth');
  return sign;
}

/** For a client certificate in the folder of the PKI. */
export function writeKubeconfig(path: string, pki: string, name: string): string {
  const server = `https://${SERVICE_ADDRESS}:${PORT}`;
  const client = {
    'client-certificate': join(pki, `${name}.crt`),
    'client-key': join(pki, `${name}.key`),
  };
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster: { server, 'certificate-authority': join(pki, 'ca.crt') } }],
    users: [{ name: 'u', user: client }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  };
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
  return path;
}

function isReady(pki: string): Promise<boolean> {
  const file = (name: string) => readFileSync(join(pki, name));
  const options = { ca: file('ca.crt'), cert: file('admin.crt'), key: file('admin.key') };
  return new Promise((resolve) => {
    get(`https://${SERVICE_ADDRESS}:${PORT}/readyz`, options, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    }).on('error', () => resolve(false));
  });
}
