// Pods of a real cluster, with this machine as its node, and what ClusterSPIFFEIDs grant them. Needs root
// and a machine without Kubernetes.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { writeClusterImages } from '../support/cluster-images.ts';
import { eventually } from '../support/eventually.ts';
import { startNode, type Node } from '../support/node.ts';
import { startCluster, type Cluster } from '../support/real-cluster.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const NODE = 'node-1';
const BUSYBOX = 'docker.io/library/busybox:1.37.0';

/** A pod whose process is found by how long it sleeps; `more` is of its spec. */
function podOf(name: string, seconds: number, more: object = {}) {
  const container = { image: BUSYBOX, imagePullPolicy: 'Never' };
  return {
    ...{ apiVersion: 'v1', kind: 'Pod' },
    metadata: { name, namespace: 'default', labels: { proof: 'yes', role: name } },
    spec: {
      ...{ nodeName: NODE, terminationGracePeriodSeconds: 0 },
      containers: [{ ...container, name: 'main', command: ['/bin/sleep', String(seconds)] }],
      ...more,
    },
  };
}

/** This machine's process that sleeps so long. */
function sleeper(seconds: number): number | undefined {
  const wanted = `/bin/sleep\0${seconds}\0`;
  const isIt = (pid: string) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1') === wanted;
    } catch {
      return false;
    }
  };
  const pid = readdirSync('/proc').find((name) => /^\d+$/.test(name) && isIt(name));
  return pid === undefined ? undefined : Number(pid);
}

describe('pods of a cluster', { timeout: 600_000 }, () => {
  const images = mkdtempSync('/tmp/credence-images-');
  let cluster: Cluster;
  let node: Node;
  const kubectl = (...args: string[]) => cluster.kubectl(args);
  const apply = (text: string) => cluster.kubectl(['apply', '--validate=strict', '-f', '-'], text);
  const inDaemon = (...args: string[]) =>
    kubectl('-n', 'credence', 'exec', 'daemonset/credence', '--', ...args);
  const rollOut = () =>
    kubectl('-n', 'credence', 'rollout', 'status', 'daemonset/credence', '--timeout=120s');
  const logs = () => kubectl('-n', 'credence', 'logs', 'daemonset/credence');
  /** What the process of a pod would get. */
  const explain = (pid: number) => inDaemon('credence', 'explain', '--pid', String(pid));
  const gets = (seconds: number, id: string) =>
    eventually(
      () => {
        const pid = sleeper(seconds);
        return pid !== undefined && explain(pid).includes(id);
      },
      { what: id, timeoutMs: 60_000 },
    );

  before(async () => {
    assert.equal(process.getuid?.(), 0, 'these tests start containers: run them as root');
    cluster = await startCluster();
    node = await startNode(cluster, NODE, await writeClusterImages(images));
    for (const folder of ['k8s', 'k8s/cluster-ids']) {
      cluster.kubectl(['apply', '-f', '-'], kubectl('kustomize', join(ROOT, folder)));
    }
    kubectl(
      ...['-n', 'credence', 'set', 'env', 'daemonset/credence'],
      ...[
        'CREDENCE_POLICY_KUBERNETES_ENABLED=true',
        'CREDENCE_POLICY_KUBERNETES_WRITE_STATUS=true',
      ],
    );
    rollOut();
    const spec = {
      spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/role/{{ index .PodMeta.Labels "role" }}',
      podSelector: { matchLabels: { proof: 'yes' } },
      namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'default' } },
    };
    const kind = { apiVersion: 'spire.spiffe.io/v1alpha1', kind: 'ClusterSPIFFEID' };
    apply(JSON.stringify({ ...kind, metadata: { name: 'roles' }, spec }));
  });
  after(async () => {
    await node[Symbol.asyncDispose]();
    await cluster[Symbol.asyncDispose]();
    rmSync(images, { recursive: true, force: true });
  });

  it('get what a ClusterSPIFFEID grants, with an init container, and static ones too', async () => {
    const init = {
      name: 'first',
      image: BUSYBOX,
      imagePullPolicy: 'Never',
      command: ['/bin/true'],
    };
    apply(JSON.stringify(podOf('started', 4201, { initContainers: [init] })));
    const still = podOf('still', 4202);
    writeFileSync(join(node.staticPods, 'still.yaml'), JSON.stringify(still));
    await gets(4201, 'spiffe://example.org/role/started');
    await gets(4202, 'spiffe://example.org/role/still');
    const selected = () =>
      kubectl('get', 'clusterspiffeid', 'roles', '-o=jsonpath={.status.stats.podsSelected}');
    await eventually(() => selected() === '2', { what: 'the status', timeoutMs: 90_000 });
  });

  it('lose what they had by a label, and get what the new one grants', async () => {
    const pid = sleeper(4201) ?? assert.fail('the pod of the test before is gone');
    kubectl('-n', 'default', 'label', 'pod', 'started', 'role=moved', '--overwrite');
    await eventually(() => explain(pid).includes('spiffe://example.org/role/moved'), {
      ...{ what: 'the new identity', timeoutMs: 5000 },
    });
    assert.doesNotMatch(explain(pid), /spiffe:\/\/example\.org\/role\/started/);
  });

  it('have nothing once they are deleted', async () => {
    kubectl('-n', 'default', 'delete', 'pod', 'started', '--wait=true');
    await eventually(
      () => {
        try {
          return !inDaemon('credence', 'explain', '--pod', 'default/started').includes('role/');
        } catch (thrown) {
          return /not known here/.test(String(thrown));
        }
      },
      { what: 'its end', timeoutMs: 15_000 },
    );
  });

  it('need each right that the manifests give', async () => {
    const rights = [
      ['credence-cluster-ids', /clusterspiffeids[^\n]*: list, watch/],
      ['credence', /pods: list, watch/],
    ] as const;
    for (const [role, complaint] of rights) {
      const { rules } = JSON.parse(kubectl('get', 'clusterrole', role, '-o=json')) as {
        rules: object[];
      };
      const give = (some: object[]) =>
        kubectl(
          'patch',
          'clusterrole',
          role,
          '--type=merge',
          '-p',
          JSON.stringify({ rules: some }),
        );
      give([]);
      kubectl('-n', 'credence', 'delete', 'pods', '-l', 'app.kubernetes.io/name=credence');
      await eventually(() => complaint.test(logs()), { what: role, timeoutMs: 60_000 });
      give(rules);
    }
  });
});
