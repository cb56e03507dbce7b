// What each right of the manifests is for, on a real cluster: without it one thing fails and says so, and
// with it that goes on without a restart. Needs root and a machine without Kubernetes.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import { writeClusterImages } from '../support/cluster-images.ts';
import { eventually } from '../support/eventually.ts';
import { NODE, podOf, sleeper } from '../support/node-pods.ts';
import { startNode, type Node } from '../support/node.ts';
import { startCluster, type Cluster } from '../support/real-cluster.ts';
import { nameOf, rightsOf, takeAway, type Right } from '../support/rights.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SECONDS = 4301;
const DAEMON: Right['role'] = { kind: 'clusterrole', name: 'credence' };
const CLUSTER_IDS: Right['role'] = { kind: 'clusterrole', name: 'credence-cluster-ids' };
const STATUS: Right['role'] = { kind: 'role', name: 'credence-cluster-ids' };
const JOB: Right['role'] = { kind: 'role', name: 'credence-ca' };

/** The collections that are followed; each has something by which it is seen whether that works. */
const FOLLOWED: Readonly<Record<string, { change: (to: string) => string[]; seen: string }>> = {
  pods: {
    change: (to) => ['label', 'pod', 'proof', `role=${to}`, '--overwrite'],
    seen: 'spiffe://example.org/role/',
  },
  clusterspiffeids: {
    change: (to) => specOf('clusterspiffeid', 'plain', { spiffeIDTemplate: id('plain', to) }),
    seen: id('plain', ''),
  },
  clusterstaticentries: {
    change: (to) => specOf('clusterstaticentry', 'static', { spiffeID: id('static', to) }),
    seen: id('static', ''),
  },
  clusterfederatedtrustdomains: {
    change: (to) => specOf('clusterfederatedtrustdomain', 'partner', { trustDomain: `of-${to}` }),
    seen: 'bundles of of-',
  },
  namespaces: {
    change: (to) => ['label', 'namespace', 'default', `area=${to}`, '--overwrite'],
    seen: id('area', ''),
  },
  nodes: {
    change: (to) => ['label', 'node', NODE, `zone=${to}`, '--overwrite'],
    seen: id('zone', ''),
  },
};

/** Those by which the status of manifests is written; each has what has to be written because of it. */
const WRITTEN: Readonly<Record<string, 'clusterspiffeid' | 'clusterstaticentry'>> = {
  'clusterspiffeids/status: patch': 'clusterspiffeid',
  'clusterstaticentries/status: patch': 'clusterstaticentry',
  'leases: create': 'clusterspiffeid',
  'leases: get': 'clusterspiffeid',
  'leases: update': 'clusterspiffeid',
};
/** A status that is wrong, and the part of it that the daemon sets right. */
const SPOILT = {
  clusterspiffeid: ['roles', { stats: { podsSelected: 99 } }, '{.status.stats.podsSelected}', '1'],
  clusterstaticentry: ['static', { set: false }, '{.status.set}', 'true'],
} as const;

function id(path: string, to: string): string {
  return `spiffe://example.org/${path}/${to}`;
}

function specOf(kind: string, name: string, spec: object): string[] {
  return ['patch', kind, name, '--type=merge', '-p', JSON.stringify({ spec })];
}

const NODE_UID = 'uid-of-the-node';
/** What the table above changes, before it is changed. */
const MANIFESTS = [
  ['ClusterSPIFFEID', 'roles', clusterId('{{ index .PodMeta.Labels "role" }}', 'role')],
  ['ClusterSPIFFEID', 'plain', clusterId('one', 'plain')],
  ['ClusterSPIFFEID', 'by-node', clusterId('{{ index .NodeMeta.Labels "zone" }}', 'zone')],
  ...['one', 'two'].map((area) => [
    'ClusterSPIFFEID',
    `area-${area}`,
    { ...clusterId(area, 'area'), namespaceSelector: { matchLabels: { area } } },
  ]),
  [
    'ClusterStaticEntry',
    'static',
    {
      spiffeID: id('static', 'one'),
      parentID: `spiffe://example.org/spire/agent/k8s_psat/any/${NODE_UID}`,
      selectors: ['k8s:pod-label:proof:yes'],
    },
  ],
  [
    'ClusterFederatedTrustDomain',
    'partner',
    {
      ...{ trustDomain: 'of-one', bundleEndpointURL: 'https://partner.example/bundle' },
      bundleEndpointProfile: { type: 'https_web' },
    },
  ],
].map(([kind, name, spec]) => ({
  ...{ apiVersion: 'spire.spiffe.io/v1alpha1', kind, metadata: { name } },
  spec,
}));

function clusterId(template: string, path: string) {
  return {
    spiffeIDTemplate: id(path, template),
    podSelector: { matchLabels: { proof: 'yes' } },
  };
}

describe('each right of the manifests', { timeout: 900_000 }, () => {
  const images = mkdtempSync('/tmp/credence-images-');
  let cluster: Cluster;
  let node: Node;
  const kubectl = (...args: string[]) => cluster.kubectl(args);
  const own = (...args: string[]) => kubectl('-n', 'credence', ...args);
  const logs = () => own('logs', 'daemonset/credence', '--tail=-1');
  /** What is granted, and which bundles would be; without pods the first is an error. */
  const known = () =>
    [['explain', '--pid', String(sleeper(SECONDS))], ['status']]
      .map((command) => {
        try {
          return own('exec', 'daemonset/credence', '--', 'credence', ...command);
        } catch (thrown) {
          return String((thrown as { stdout?: string }).stdout);
        }
      })
      .flatMap((text) => text.split('\n').filter((line) => /\(priority |bundles of/.test(line)))
      .join('\n');
  const complains = ({ resource, verb }: Right, detail: string) =>
    eventually(
      () =>
        logs()
          .split('\n')
          .some(
            (line) =>
              line.includes(`cannot ${verb} resource \\"${resource}\\"`) && line.includes(detail),
          ),
      { what: `a line about ${resource}: ${verb}`, timeoutMs: 30_000 },
    );
  const shows = (text: string) =>
    eventually(() => known().includes(text), { what: text, timeoutMs: 30_000 });
  /** Another pod of the daemon; a watch that is open needs no right any more. */
  const replaceDaemon = async () => {
    own('delete', 'pods', '-l', 'app.kubernetes.io/name=credence');
    await eventually(() => /"credence is ready"/.test(logs()), { what: 'it', timeoutMs: 60_000 });
  };
  const rightTo = (what: string): Right =>
    all().find((right) => nameOf(right) === what) ?? assert.fail(`nobody is granted ${what}`);
  const all = () => [DAEMON, CLUSTER_IDS, STATUS, JOB].flatMap((role) => rightsOf(cluster, role));
  const written = (kind: 'clusterspiffeid' | 'clusterstaticentry') => {
    const [name, status, path, right] = SPOILT[kind];
    return {
      spoil: () =>
        kubectl(
          ...['patch', kind, name, '--subresource=status', '--type=merge'],
          ...['-p', JSON.stringify({ status })],
        ),
      isRight: () => kubectl('get', kind, name, `-o=jsonpath=${path}`) === right,
    };
  };

  before(async () => {
    assert.equal(process.getuid?.(), 0, 'these tests start containers: run them as root');
    cluster = await startCluster();
    node = await startNode(cluster, NODE, await writeClusterImages(images));
    for (const folder of ['k8s', 'k8s/cluster-ids']) {
      cluster.kubectl(['apply', '-f', '-'], kubectl('kustomize', join(ROOT, folder)));
    }
    const settings = ['ENABLED', 'WRITE_STATUS'].map((key) => `CREDENCE_POLICY_KUBERNETES_${key}`);
    own('set', 'env', 'daemonset/credence', ...settings.map((name) => `${name}=true`));
    const pod = podOf('proof', SECONDS);
    const items = [...MANIFESTS, pod];
    const nodeUid = kubectl('get', 'node', NODE, '-o', 'jsonpath={.metadata.uid}');
    cluster.kubectl(
      ['apply', '--validate=strict', '-f', '-'],
      JSON.stringify({ apiVersion: 'v1', kind: 'List', items }).replaceAll(NODE_UID, nodeUid),
    );
    for (const { change } of Object.values(FOLLOWED)) kubectl(...change('one'));
    own('rollout', 'status', 'daemonset/credence', '--timeout=120s');
    await eventually(() => sleeper(SECONDS), { what: 'the pod', timeoutMs: 60_000 });
  });
  after(async () => {
    await node[Symbol.asyncDispose]();
    await cluster[Symbol.asyncDispose]();
    rmSync(images, { recursive: true, force: true });
  });

  it('is looked at below, and together they are enough', async () => {
    const followed = Object.keys(FOLLOWED).flatMap((r) => [`${r}: list`, `${r}: watch`]);
    const looked = [...followed, ...Object.keys(WRITTEN), 'secrets: create'];
    assert.deepEqual(all().map(nameOf).sort(), looked.sort());
    for (const { seen } of Object.values(FOLLOWED)) await shows(`${seen}one`);
    for (const kind of ['clusterspiffeid', 'clusterstaticentry'] as const) {
      await eventually(written(kind).isRight, { what: kind, timeoutMs: 40_000 });
    }
    assert.doesNotMatch(logs(), /cannot (?:list|watch|get|create|update|patch) resource/);
  });

  for (const [resource, { change, seen }] of Object.entries(FOLLOWED)) {
    const detail = `the service account lacks ${resource}`;

    it(`${resource}: list, without which nothing of them is known`, async () => {
      const right = rightTo(`${resource}: list`);
      const giveBack = takeAway(cluster, right);
      await replaceDaemon();
      await complains(right, detail);
      assert.ok(!known().includes(seen));
      giveBack();
      await shows(`${seen}one`);
    });

    it(`${resource}: watch, without which a change is not heard of`, async () => {
      const right = rightTo(`${resource}: watch`);
      const giveBack = takeAway(cluster, right);
      await replaceDaemon();
      await complains(right, detail);
      await shows(`${seen}one`);
      kubectl(...change('two'));
      assert.ok(!known().includes(`${seen}two`));
      giveBack();
      await shows(`${seen}two`);
      assert.ok(!known().includes(`${seen}one`));
    });
  }

  for (const [what, kind] of Object.entries(WRITTEN)) {
    it(`${what}, without which no status is written`, async () => {
      const right = rightTo(what);
      const status = written(kind);
      const giveBack = takeAway(cluster, right);
      if (what === 'leases: create') own('delete', 'lease', 'credence-status');
      status.spoil();
      await replaceDaemon();
      await complains(right, 'patch clusterspiffeids/status');
      assert.ok(!status.isRight());
      giveBack();
      await eventually(status.isRight, { what: 'the status', timeoutMs: 40_000 });
    });
  }

  it('secrets: create, without which there is no CA', async () => {
    const giveBack = takeAway(cluster, rightTo('secrets: create'));
    own('delete', 'job,secret', 'credence-ca', '--ignore-not-found');
    const job = parseAllDocuments(kubectl('kustomize', join(ROOT, 'k8s')))
      .map((document) => document.toJS() as { kind: string })
      .find(({ kind }) => kind === 'Job');
    cluster.kubectl(['apply', '-f', '-'], JSON.stringify(job));
    await eventually(
      () =>
        own('logs', 'job/credence-ca').includes(
          'hint: it takes the right to create secrets in credence',
        ),
      { what: 'the complaint of the Job', timeoutMs: 60_000 },
    );
    giveBack();
    await eventually(() => own('get', 'secret', 'credence-ca').includes('kubernetes.io/tls'), {
      ...{ what: 'the CA', timeoutMs: 90_000 },
    });
  });
});
