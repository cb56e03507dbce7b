// The manifests and the chart on a real API server, with this machine as the node: a kubelet,
// containerd and the image that the Dockerfile gives. Needs root and a machine without Kubernetes. The
// image of the SPIFFE CSI driver cannot be had without a registry: its pods do not start here, and the
// example has a hostPath in the place of its volume.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse, parseAllDocuments } from 'yaml';
import { startCluster, type Cluster } from '../support/real-cluster.ts';
import { eventually } from '../support/eventually.ts';
import { writeClusterImages } from '../support/cluster-images.ts';
import { startNode, type Node } from '../support/node.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BUILT = join(ROOT, 'dist/credence.js');
const NODE = 'node-1';
/** Values of the chart for what `k8s/cluster-ids` adds. */
const CLUSTER_IDS = ['--set=clusterIds.enabled=true'];

interface Manifest {
  kind: string;
  metadata: { name: string; annotations?: object };
  data?: Record<string, string>;
}

describe('the manifests on a cluster', { timeout: 600_000 }, () => {
  const images = mkdtempSync('/tmp/credence-images-');
  let cluster: Cluster;
  let node: Node;
  const kubectl = (...args: string[]) => cluster.kubectl(args);
  const inDaemon = (...args: string[]) =>
    kubectl('-n', 'credence', 'exec', 'daemonset/credence', '--', ...args);
  const pods = (namespace: string, name: string) =>
    kubectl('-n', namespace, 'get', 'pods', '-l', `app.kubernetes.io/name=${name}`, '-o=name')
      .split('\n')
      .filter(Boolean);
  const rollOut = (namespace: string, what: string) =>
    kubectl('-n', namespace, 'rollout', 'status', what, '--timeout=120s');

  before(async () => {
    assert.equal(process.getuid?.(), 0, 'these tests start containers: run them as root');
    cluster = await startCluster();
    node = await startNode(cluster, NODE, await writeClusterImages(images));
  });
  after(async () => {
    await node[Symbol.asyncDispose]();
    await cluster[Symbol.asyncDispose]();
    rmSync(images, { recursive: true, force: true });
  });

  const chart = (...args: string[]) =>
    cluster.helm([
      ...['template', 'credence', join(ROOT, 'k8s/chart'), '--namespace=credence'],
      ...['--kube-version=1.34.4', ...args],
    ]);
  const kustomize = (folder: string) => kubectl('kustomize', join(ROOT, folder));

  it('are accepted by a server that validates strictly, those of the chart too', () => {
    kubectl('create', 'namespace', 'credence');
    kubectl('create', 'namespace', 'credence-example');
    const folders = ['k8s', 'k8s/example', 'k8s/cluster-ids'].map(kustomize);
    for (const text of [...folders, chart(), chart(...CLUSTER_IDS)]) {
      const out = cluster.kubectl(
        ['apply', '--dry-run=server', '--validate=strict', '-f', '-'],
        text,
      );
      assert.doesNotMatch(out, /[Ww]arning/);
    }
    kubectl('delete', 'namespace', 'credence', 'credence-example', '--wait=true');
  });

  it('are the objects that the chart makes, but for the namespace', () => {
    const ofKustomize = (...folders: string[]) =>
      comparable(
        folders
          .flatMap((folder) => objects(kustomize(folder)))
          .filter(({ kind }) => kind !== 'Namespace'),
      );
    const monitored = objects(chart('--set', 'monitoring.enabled=true'));
    assert.deepEqual(comparable(monitored), ofKustomize('k8s', 'k8s/monitoring'));

    const ofChart = comparable(objects(chart(...CLUSTER_IDS)));
    // What `kubectl set env` says there is in the file here.
    const { kubernetes, ...policy } = settingsIn(ofChart)['policy'] ?? {};
    settingsIn(ofChart)['policy'] = policy;
    const lease = 'credence/credence-status';
    assert.deepEqual(kubernetes, { enabled: true, write_status: true, status_lease: lease });
    assert.deepEqual(ofChart, ofKustomize('k8s', 'k8s/cluster-ids'));
  });

  it('are not made by the chart of a value that is misspelt, or without a trust domain', () => {
    assert.throws(() => chart('--set=trustDomian=example.com'), /'trustDomian' not allowed/);
    assert.throws(() => chart('--set=trustDomain='), /\/trustDomain/);
    assert.throws(() => chart('--set=csi.enabled=flase'), /\/csi\/enabled/);
    // What is the user's own to name.
    const free = [
      'settings.issuer.x509_svid_ttl=30m',
      'nodeSelector.pool=a',
      'resources.limits=null',
    ];
    assert.match(chart(...free.map((value) => `--set=${value}`)), /x509_svid_ttl: 30m/);
  });

  it('leave out, with the chart, what is not to be had or done', () => {
    const names = (...values: string[]) =>
      Object.entries(comparable(objects(chart(...CLUSTER_IDS, ...values))));
    const withoutCrds = names('--set', 'clusterIds.crds=false');
    assert.ok(!withoutCrds.some(([name]) => name.startsWith('CustomResourceDefinition/')));
    const readOnly = names('--set', 'clusterIds.writeStatus=false');
    assert.ok(!readOnly.some(([name]) => /^Role(?:Binding)?\/credence-cluster-ids/.test(name)));
    const [, role] = readOnly.find(([name]) => name === 'ClusterRole/credence-cluster-ids') ?? [];
    assert.doesNotMatch(JSON.stringify(role), /patch|status/);
  });

  it('let the daemon read namespaces, with the chart, where the settings ask for their labels', () => {
    const roleOf = (...values: string[]) =>
      JSON.stringify(comparable(objects(chart(...values)))['ClusterRole/credence']);
    assert.doesNotMatch(roleOf(), /namespaces/);
    const on = '--set=settings.attestation.kubernetes.namespace_labels=true';
    assert.match(roleOf(on), /"resources":\["namespaces"\],"verbs":\["list","watch"\]/);
  });

  it('replace a first try with an image that is nowhere', async () => {
    const wrong = kustomize('k8s').replaceAll('credence:0.1.0', 'credence.invalid/no:0.1.0');
    cluster.kubectl(['apply', '-f', '-'], wrong);
    const jobs = () => kubectl('-n', 'credence', 'get', 'jobs', '-o=name');
    await eventually(() => pods('credence', 'credence-ca').length === 1, { what: 'its Job' });
    assert.throws(() => kubectl('apply', '-k', join(ROOT, 'k8s')), /field is immutable/);

    // The same with less patience, which shows both ways out.
    const short = wrong
      .replace('DeadlineSeconds: 300', 'DeadlineSeconds: 3')
      .replace('AfterFinished: 60', 'AfterFinished: 1');
    cluster.kubectl(['apply', '--force', '-f', '-'], short);
    assert.match(jobs(), /credence-ca/);
    await eventually(() => jobs() === '', { what: 'the end of it', timeoutMs: 60_000 });
    kubectl('apply', '-k', join(ROOT, 'k8s'));
  });

  it('bring up a daemon on the node with a CA of its own making', () => {
    rollOut('credence', 'daemonset/credence');
    assert.match(inDaemon('credence', 'status'), /on node-1, trust domain example\.org, ready/);
    const secret = kubectl('-n', 'credence', 'get', 'secret', 'credence-ca', '-o=json');
    const { data } = JSON.parse(secret) as { data: Record<string, string> };
    assert.deepEqual(Object.keys(data).sort(), ['ca.crt', 'tls.crt', 'tls.key']);
    const root = Buffer.from(data['ca.crt'] ?? '', 'base64').toString('latin1');
    assert.equal(inDaemon('credence', 'bundle', 'show').trim(), root.trim());
  });

  it('leave the daemon without a capability', () => {
    const status = inDaemon('/usr/bin/node', '-p', DAEMON_STATUS);
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
      assert.match(status, new RegExp(`^${set}:\\s+0+$`, 'm'));
    }
    assert.match(status, /^NoNewPrivs:\s+1$/m);
    assert.match(status, /^Seccomp:\s+2$/m);
  });

  it('let the daemon read pods and nothing else, and the Job create secrets there alone', () => {
    const may = (account: string, ...what: string[]) => {
      try {
        return kubectl('auth', 'can-i', ...what, `--as=system:serviceaccount:credence:${account}`);
      } catch {
        return 'no';
      }
    };
    for (const verb of ['list', 'watch']) assert.match(may('credence', verb, 'pods', '-A'), /^yes/);
    for (const what of [
      ['get', 'secrets', '-n', 'credence'],
      ['update', 'pods', '-A'],
      ['create', 'pods', '-n', 'credence'],
      ['list', 'nodes'],
    ]) {
      assert.match(may('credence', ...what), /^no/, what.join(' '));
    }
    assert.match(may('credence-ca', 'create', 'secrets', '-n', 'credence'), /^yes/);
    for (const what of [
      ['get', 'secrets', '-n', 'credence'],
      ['update', 'secrets', '-n', 'credence'],
      ['create', 'secrets', '-n', 'default'],
    ]) {
      assert.match(may('credence-ca', ...what), /^no/, what.join(' '));
    }
  });

  it('follow an edit of the policy without another pod', async () => {
    const earlier = pods('credence', 'credence');
    const entry = { spiffe_id: 'spiffe://example.org/more', selectors: ['k8s:ns:a', 'k8s:sa:b'] };
    const data = { 'more.yaml': JSON.stringify({ entries: [entry] }) };
    const patch = ['--type=merge', '-p', JSON.stringify({ data })];
    kubectl('-n', 'credence', 'patch', 'configmap', 'credence-policy', ...patch);
    await eventually(() => /^policy: 3 entries/m.test(inDaemon('credence', 'status')), {
      ...{ what: 'the new policy', timeoutMs: 90_000 },
    });
    assert.deepEqual(pods('credence', 'credence'), earlier);
  });

  it('let two service accounts speak mTLS through their sidecars', async () => {
    const volume = /csi:\n\s+driver: csi\.spiffe\.io\n\s+readOnly: true/g;
    const example = kustomize('k8s/example')
      .replaceAll(volume, 'hostPath: { path: /run/credence }')
      .replaceAll(/(pod-security\S+: )restricted/g, '$1privileged');
    assert.equal(example.match(/hostPath:/g)?.length, 2);
    cluster.kubectl(['apply', '-f', '-'], example);
    rollOut('credence-example', 'deployment/server');
    // There is no DNS here: the name becomes that of the server's pod.
    const ip = kubectl(
      ...['-n', 'credence-example', 'get', 'pods', '-l', 'app.kubernetes.io/name=server'],
      '-o=jsonpath={.items[0].status.podIP}',
    );
    const spec = { hostAliases: [{ ip, hostnames: ['server'] }] };
    const patch = ['-p', JSON.stringify({ spec: { template: { spec } } })];
    kubectl('-n', 'credence-example', 'patch', 'deployment', 'client', ...patch);
    rollOut('credence-example', 'deployment/client');
    await eventually(() => pods('credence-example', 'client').length === 1, { what: 'one client' });
    await eventually(() => count(/hello over mTLS/g) >= 3, {
      ...{ what: 'answers', timeoutMs: 60_000 },
    });
    // Their proxies ask for `default`: what that is says the JSON.
    const status = inDaemon('credence', 'status', '--json');
    for (const name of ['client', 'server']) {
      assert.match(status, new RegExp(`ns/credence-example/sa/${name}`));
    }
    const explained = inDaemon(
      'credence',
      'explain',
      '--pod',
      pods('credence-example', 'client')[0]?.replace('pod', 'credence-example') ?? '',
    );
    assert.match(
      explained,
      /^identities +spiffe:\/\/example\.org\/ns\/credence-example\/sa\/client/m,
    );
  });

  it('are rolled over while requests flow, of which none fails', async () => {
    const before = count(/hello over mTLS/g);
    const failedBefore = count(/^failed$/gm);
    kubectl('-n', 'credence', 'rollout', 'restart', 'daemonset/credence');
    rollOut('credence', 'daemonset/credence');
    await eventually(() => count(/hello over mTLS/g) > before + 3, {
      ...{ what: 'answers after it', timeoutMs: 60_000 },
    });
    assert.equal(count(/^failed$/gm), failedBefore);
    await eventually(() => /sa\/client/.test(inDaemon('credence', 'status', '--json')), {
      what: 'the proxy at the new daemon',
    });
  });

  it('follow a CA that takes the place of the first, with both roots for a while', async () => {
    const bundle = () => inDaemon('credence', 'bundle', 'show').trim();
    const first = bundle();
    const made = join(images, 'new');
    const create = [BUILT, 'ca', 'create', '--trust-domain=example.org', `--out=${made}`];
    execFileSync(process.execPath, create, { stdio: 'ignore' });
    const secret = kubectl(
      ...['-n', 'credence', 'create', 'secret', 'generic', 'credence-ca', `--from-file=${made}`],
      ...['--type=kubernetes.io/tls', '--dry-run=client', '-o=yaml'],
    );
    cluster.kubectl(['apply', '-f', '-'], secret);
    const both = new Set([first, readFileSync(join(made, 'ca.crt'), 'utf8').trim()]);
    await eventually(() => Array.from(both).every((root) => bundle().includes(root)), {
      ...{ what: 'the new root beside the old one', timeoutMs: 90_000 },
    });
    assert.match(inDaemon('credence', 'status'), /^authority prepared: 36\dd /m);
  });

  it('come as a release of the chart, with ClusterSPIFFEIDs, after a first try with a wrong image', async () => {
    // The Job has gone by itself.
    kubectl('delete', '-k', join(ROOT, 'k8s'), '--ignore-not-found', '--wait=true');
    // Who knows the root before waits, before it signs under another one.
    rmSync('/var/lib/credence', { recursive: true });
    kubectl('create', 'namespace', 'credence');
    kubectl('label', 'namespace', 'credence', 'pod-security.kubernetes.io/enforce=privileged');
    const release = ['credence', join(ROOT, 'k8s/chart'), '--namespace=credence'];
    cluster.helm(['install', ...release, ...CLUSTER_IDS, '--set=image.repository=no.invalid/no']);
    await eventually(() => pods('credence', 'credence-ca').length === 1, {
      what: 'a Job that fails',
    });
    cluster.helm(['upgrade', ...release, ...CLUSTER_IDS]);
    rollOut('credence', 'daemonset/credence');
    const id = { spiffeIDTemplate: 'spiffe://example.org/of/{{ .PodMeta.Name }}' };
    const kind = { apiVersion: 'spire.spiffe.io/v1alpha1', kind: 'ClusterSPIFFEID' };
    const manifest = JSON.stringify({ ...kind, metadata: { name: 'every' }, spec: id });
    cluster.kubectl(['apply', '--validate=strict', '-f', '-'], manifest);
    await eventually(() => /ClusterSPIFFEID\/every/.test(inDaemon('credence', 'status')), {
      what: 'the ClusterSPIFFEID',
    });
    const selected = () =>
      kubectl('get', 'clusterspiffeid', 'every', '-o=jsonpath={.status.stats.podsSelected}');
    await eventually(() => Number(selected()) > 0, { what: 'its status', timeoutMs: 60_000 });

    cluster.helm(['uninstall', 'credence', '--namespace=credence', '--wait']);
    assert.match(kubectl('get', 'clusterspiffeids'), /every/);
    assert.match(kubectl('-n', 'credence', 'get', 'secret', 'credence-ca'), /kubernetes\.io\/tls/);
  });

  const count = (what: RegExp) =>
    kubectl('-n', 'credence-example', 'logs', 'deployment/client', '-c', 'app').match(what)
      ?.length ?? 0;
});

/** With hostPID the daemon is one of many processes: the one whose parent is the container's. */
const DAEMON_STATUS = `
  const fs = require('node:fs');
  const text = (pid, name) => { try { return fs.readFileSync('/proc/' + pid + '/' + name, 'utf8'); } catch { return ''; } };
  const isDaemon = (pid) => text(pid, 'cmdline').includes('/opt/credence/dist/credence.js\\0run');
  text(fs.readdirSync('/proc').find(isDaemon), 'status')`;

function objects(text: string): Manifest[] {
  return parseAllDocuments(text)
    .map((document) => document.toJS() as Manifest | null)
    .filter((manifest) => manifest !== null);
}

/** What stands in the daemon's file; an object that may be changed. */
function settingsIn(manifests: Record<string, unknown>): Record<string, Record<string, unknown>> {
  const { data } = manifests['ConfigMap/credence-config'] as {
    data: Record<string, Record<string, Record<string, unknown>>>;
  };
  return data['credence.yaml'] ?? assert.fail('no credence.yaml');
}

/**
 * By kind and name; without the hash in a name, and without annotations: in the chart one does its work,
 * and others are for Helm.
 */
function comparable(manifests: readonly Manifest[]): Record<string, unknown> {
  const entries = manifests.map((manifest) => {
    const text = JSON.stringify(manifest).replaceAll(
      /"(credence-(?:config|ca))-[a-z0-9]{8,10}"/g,
      '"$1"',
    );
    const plain = JSON.parse(text) as Manifest & {
      spec?: { template?: { metadata?: { annotations?: object } } };
    };
    delete plain.spec?.template?.metadata?.annotations;
    delete plain.metadata.annotations;
    const data = Object.entries(plain.data ?? {}).map(([name, value]) => [
      name,
      parse(value) as unknown,
    ]);
    return [
      `${plain.kind}/${plain.metadata.name}`,
      plain.data ? { ...plain, data: Object.fromEntries(data) as unknown } : plain,
    ] as const;
  });
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}
