import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../src/core/clock.ts';
import { systemRandom } from '../../src/core/random.ts';
import { startChild, type Child } from './child.ts';
import { eventually } from './eventually.ts';
import { FakeLogger } from './issuer.ts';
import { TRUST_DOMAIN } from './kube-ca.ts';
import { base64, fromBase64, signRequest } from './request-signer.ts';
import { BIN, type Cluster } from './real-cluster.ts';
import type { ForeignCa } from './upstream.ts';

const DOCUMENT = fileURLToPath(new URL('../../docs/upstreams-kubernetes.md', import.meta.url));
const CRDS = fileURLToPath(new URL('../../.cache/go/cert-manager-crds', import.meta.url));
const CSRS = '/apis/certificates.k8s.io/v1/certificatesigningrequests';

/** The manifests that the documentation gives, by the comment that they begin with. */
export function documentedRights(of: 'kubernetes_csr' | 'cert_manager'): string {
  const blocks = readFileSync(DOCUMENT, 'utf8').matchAll(/^```yaml\n([\s\S]*?)^```$/gm);
  const found = Array.from(blocks, ([, text = '']) => text).find((text) =>
    text.startsWith(`# ${of}: what the daemon may do\n`),
  );
  if (found === undefined) throw new Error(`the documentation has no rights of ${of}`);
  return found;
}

/** What an authority needs to talk to the cluster as a service account of namespace credence. */
export function termsOf(cluster: Cluster, account: string) {
  const tokenFile = join(cluster.folder, `token-${account}`);
  const token = cluster.kubectl(['-n', 'credence', 'create', 'token', account]);
  writeFileSync(tokenFile, token, { mode: 0o600 });
  return {
    apiServer: { host: '10.96.0.1', port: 443 },
    caFile: join(cluster.pki, 'ca.crt'),
    ...{ tokenFile, timeoutMs: 20_000, trustDomain: TRUST_DOMAIN, nodeName: 'node-1' },
  };
}

export const realDeps = () => ({
  ...{ clock: systemClock, random: systemRandom, log: new FakeLogger() },
});

/** The names of the requests that nobody has decided about. */
export function pendingRequests({ kubectl }: Cluster): readonly string[] {
  const { items } = JSON.parse(kubectl(['get', 'csr', '-o', 'json'])) as {
    items: { metadata: { name: string }; status?: { conditions?: unknown } }[];
  };
  return items.filter(({ status }) => !status?.conditions).map(({ metadata }) => metadata.name);
}

/** Waits for the one request that nobody has decided about. */
export function nextRequest(cluster: Cluster): Promise<string> {
  return eventually(() => pendingRequests(cluster)[0], { what: 'a request' });
}

/** Signs an approved request through its status, as a controller does. */
export async function signThrough(cluster: Cluster, name: string, ca: ForeignCa): Promise<void> {
  const object = JSON.parse(cluster.kubectl(['get', 'csr', name, '-o', 'json'])) as {
    spec: { request: string };
    status: object;
  };
  const certificate = base64(await signRequest(fromBase64(object.spec.request), ca));
  cluster.kubectl(
    ['replace', '--raw', `${CSRS}/${name}/status`, '-f', '-'],
    JSON.stringify({ ...object, status: { ...object.status, certificate } }),
  );
}

/** Cert-manager's definitions, without its controllers. */
export function installCertManager({ kubectl }: Cluster): void {
  kubectl(['apply', '--server-side', '-f', CRDS]);
  kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=60s']);
  kubectl(['create', 'namespace', 'cert-manager']);
}

/** Its controllers, but for those that are named. */
export async function startCertManager(
  { kubeconfig }: Cluster,
  ...without: readonly string[]
): Promise<Child> {
  const child = await startChild(join(BIN, 'cert-manager'), [kubeconfig, ...without]);
  await eventually(() => child.log().includes('running'), {
    what: 'cert-manager',
    hopeless: () => child.ended() && child.log().slice(-2000),
  });
  return child;
}
