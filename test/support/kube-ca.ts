import type { TestContext } from 'node:test';
import { systemClock, type Clock } from '../../src/core/clock.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { generatePrivateKey, localSigningKey, type SigningKey } from '../../src/issuer/keys.ts';
import { createSigningRequest } from '../../src/issuer/signing-request.ts';
import type { CaOrder, UpstreamAuthority } from '../../src/issuer/upstream-authority.ts';
import type { KubeCaDeps } from '../../src/kube-ca/authority.ts';
import { startApiServer, type ApiServer } from './api-server.ts';
import { seededRandom } from './fake-random.ts';
import { FakeLogger, HOUR_MS } from './issuer.ts';
import { base64, fromBase64, signRequest, type SignOptions } from './request-signer.ts';
import { createSigningCluster, CSRS, type SigningCluster, type Stored } from './signing-cluster.ts';
import { foreignCas, type ForeignCa } from './upstream.ts';

export const TRUST_DOMAIN = parseTrustDomain('example.org');
export const ROOTS_PATH = '/api/v1/namespaces/credence/configmaps';
export const REQUESTS = '/apis/cert-manager.io/v1/namespaces/credence/certificaterequests';

/** On which seconds of waiting pass in twentieths. */
export const HASTY: Clock = {
  ...systemClock,
  after: (delayMs, fn) => systemClock.after(delayMs / 20, fn),
};

/** A server with a root in a ConfigMap, and all that an authority of it needs. */
export interface KubeWorld {
  readonly server: ApiServer;
  readonly cluster: SigningCluster;
  readonly root: ForeignCa;
  readonly make: ReturnType<typeof foreignCas>['make'];
  readonly log: FakeLogger;
  readonly deps: KubeCaDeps;
  /** What is the same for each kind of authority. */
  readonly terms: {
    readonly apiServer: { host: string; port: number };
    readonly caFile: string;
    readonly tokenFile: string;
    readonly timeoutMs: number;
    readonly trustDomain: typeof TRUST_DOMAIN;
    readonly nodeName: string;
  };
  readonly tellRoots: (...roots: readonly ForeignCa[]) => void;
  /** Approves and signs whatever is created from now on. */
  readonly signs: (options?: SignOptions & { readonly ca?: ForeignCa }) => void;
  /** Closes it at the end of the test. */
  keep<T extends UpstreamAuthority>(authority: T): T;
}

export async function startKubeWorld(t: TestContext, foreign: ReturnType<typeof foreignCas>) {
  const server = await startApiServer();
  const cluster = createSigningCluster();
  server.behave(cluster.behaviour);
  const root = rootOf(foreign);
  const log = new FakeLogger();
  const authorities: UpstreamAuthority[] = [];
  t.after(async () => {
    for (const authority of authorities) authority.close();
    await server[Symbol.asyncDispose]();
  });
  const world: KubeWorld = {
    ...{ server, cluster, root, log, make: foreign.make },
    deps: { clock: HASTY, random: seededRandom(), log },
    terms: {
      apiServer: { host: server.host, port: server.port },
      caFile: server.caFile,
      tokenFile: server.tokenFile,
      timeoutMs: 60_000,
      trustDomain: TRUST_DOMAIN,
      nodeName: 'node-1',
    },
    tellRoots(...roots) {
      const data = { 'ca.crt': roots.map(({ cert }) => cert).join('') };
      cluster.put(ROOTS_PATH, 'roots', { data });
    },
    signs({ ca = root, ...options } = {}) {
      cluster.onCreated = (path, object) =>
        void signed(path, object, ca, options).then((status) =>
          cluster.setStatus(path, object.metadata.name, status),
        );
    },
    keep(authority) {
      authorities.push(authority);
      return authority;
    },
  };
  world.tellRoots(root);
  return world;
}

let known: ForeignCa | undefined;
/** Once for all tests of a file: openssl takes its time. */
function rootOf({ make }: ReturnType<typeof foreignCas>): ForeignCa {
  return (known ??= make({ name: 'root' }));
}

/** The status that a signer of the kind of object gives. */
export async function signed(
  path: string,
  { spec }: Stored,
  ca: ForeignCa,
  options: SignOptions = {},
): Promise<object> {
  const certificate = base64(await signRequest(fromBase64(spec['request']), ca, options));
  if (path === CSRS) return { conditions: [holds('Approved')], certificate };
  const conditions = [holds('Approved'), holds('Ready', 'Issued')];
  return { conditions, certificate, ca: base64(ca.cert) };
}

export const holds = (type: string, reason = 'Test', message = '', status = 'True') => ({
  ...{ type, status, reason, message },
});

export async function newKey(): Promise<SigningKey> {
  return localSigningKey(await generatePrivateKey('ec-p256'), 'ec-p256');
}

export async function orderFor(key: SigningKey, ttlMs = HOUR_MS): Promise<CaOrder> {
  return { key, ttlMs, csr: await createSigningRequest(key, TRUST_DOMAIN) };
}
