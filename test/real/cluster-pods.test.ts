// Pods of a real cluster, with this machine as its node, and what ClusterSPIFFEIDs grant them. Needs root
// and a machine without Kubernetes.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { writeClusterImages } from '../support/cluster-images.ts';
import { eventually } from '../support/eventually.ts';
import { BUSYBOX, NODE, podOf, sleeper, streamingPod } from '../support/node-pods.ts';
import { startNode, type Node } from '../support/node.ts';
import { startCluster, type Cluster } from '../support/real-cluster.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
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

  it('keep their streams while they end, and lose them once they are gone', async () => {
    const seen = mkdtempSync(join(images, 'seen-'));
    const told = () => {
      const log = join(seen, 'log');
      return existsSync(log) ? readFileSync(log, 'utf8') : '';
    };
    const lives = () => told().match(/^alive$/gm)?.length ?? 0;
    const later = async (what: string) => {
      const before = lives();
      await eventually(() => lives() >= before + 4, { what, timeoutMs: 20_000 });
    };
    apply(JSON.stringify(streamingPod('streamer', seen)));
    await eventually(() => /^a secret$/m.test(told()), { what: 'its secret', timeoutMs: 60_000 });
    const pod = inDaemon('credence', 'explain', '--pod', 'default/streamer');
    assert.match(pod, /^pod +default\/streamer/m);
    assert.match(pod, /spiffe:\/\/example\.org\/role\/streamer/);

    kubectl('-n', 'default', 'delete', 'pod', 'streamer', '--wait=false');
    await eventually(() => /^asked to end$/m.test(told()), { what: 'the end of its time' });
    await later('it, while it ends');
    assert.doesNotMatch(told(), /^ended/m);

    kubectl('-n', 'default', 'delete', 'pod', 'streamer', '--force', '--grace-period=0');
    await eventually(() => /^ended/m.test(told()), { what: 'the end', timeoutMs: 2000 });
    assert.match(told(), /^ended 14 the process that opened this connection has ended/m);
    await later('it, without a pod');
  });
});
