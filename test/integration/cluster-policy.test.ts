// The whole daemon, a process in a pod as its attestor says, and a cluster that has manifests.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { startApiServer, type ApiServer } from '../support/api-server.ts';
import {
  CLUSTER_SPIFFE_IDS,
  createFakeCluster,
  FEDERATED,
  NAMESPACES,
  NODES,
  PODS,
  STATIC_ENTRIES,
  type FakeCluster,
} from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { FakeLogger } from '../support/issuer.ts';
import { pod } from '../support/pods.ts';
import { seededRandom } from '../support/fake-random.ts';
import type { Attestor } from '../../src/attestation/attestor.ts';
import type { Peer } from '../../src/attestation/peer.ts';
import { createWholePolicy, type WholePolicy } from '../../src/cluster-policy.ts';
import { manifestFigures } from '../../src/cluster-status.ts';
import { parseConfig } from '../../src/config.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { Selector } from '../../src/identity/selector.ts';
import { followNodePods, type NodePods } from '../../src/node-pods.ts';
import { createPolicyStore, type PolicyStore } from '../../src/policy/store.ts';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { stringify } from 'yaml';

const SELECTORS = ['k8s:ns:shop', 'k8s:pod-uid:uid-web', 'k8s:sa:web'] as Selector[];

const clusterId = (spec: object, metadata: object = {}) => ({
  apiVersion: 'spire.spiffe.io/v1alpha1',
  kind: 'ClusterSPIFFEID',
  metadata,
  spec,
});
const NS = { spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}' };

describe('the policy of a cluster', { timeout: 60_000 }, () => {
  let api: ApiServer;
  let cluster: FakeCluster;
  let dir: string;
  let log: FakeLogger;
  let whole: WholePolicy;
  let store: PolicyStore;
  let pods: NodePods;

  before(async () => {
    api = await startApiServer();
  });
  after(() => api[Symbol.asyncDispose]());
  beforeEach(() => {
    cluster = createFakeCluster();
    api.behave(cluster.behaviour);
    cluster.put(PODS, 'web', pod({ uid: 'uid-web', labels: { app: 'web' } }));
  });

  async function start(
    t: { after(fn: () => void): void },
    kubernetes: Readonly<Record<string, unknown>> = { enabled: true },
    documents: readonly object[] = [],
  ): Promise<void> {
    dir = mkdtempSync(join(tmpdir(), 'credence-cluster-'));
    writeDocuments(documents);
    const config = parseConfig(
      stringify({
        trust_domain: 'example.org',
        policy: { paths: ['policy.yaml'], kubernetes },
        attestation: {
          kubernetes: {
            ...{ enabled: true, node_name: 'node-1', api_server: `${api.host}:${api.port}` },
            ...{ ca_file: api.caFile, token_file: api.tokenFile },
          },
        },
      }),
      join(dir, 'credence.yaml'),
      {},
    );
    log = new FakeLogger();
    const deps = { clock: systemClock, random: seededRandom(), log };
    const { policyPaths: paths, trustDomain, clusterPolicy } = config;
    const sources = { paths, trustDomain, classes: clusterPolicy.classes };
    store = await createPolicyStore(sources, deps);
    pods = followNodePods(config.attestation.kubernetes ?? assert.fail(), {
      ...deps,
      registry: new Registry(),
    });
    whole = createWholePolicy(config, store, pods, deps);
    const [mine, parts] = [dir, [whole, pods, store]];
    t.after(() => {
      for (const part of parts) part.close();
      rmSync(mine, { recursive: true });
    });
    await eventually(() => pods.index.byUid('uid-web'), { what: 'the pod' });
  }
  const writeDocuments = (documents: readonly object[]) =>
    writeFileSync(
      join(dir, 'policy.yaml'),
      [{ entries: [] }, ...documents].map((one) => stringify(one)).join('---\n'),
    );
  const ids = () => whole.entitlements.match(SELECTORS).map(({ id }) => id as string);
  const becomes = (...expected: string[]) =>
    eventually(
      () => ids().join() === expected.map((path) => `spiffe://example.org/${path}`).join(),
      {
        what: `it has ${expected.join()}, not ${ids().join()}`,
      },
    );

  /** Lets a list wait until it is let go. */
  function stall(path: string): () => void {
    let stalls = true;
    const held: (() => void)[] = [];
    api.behave((request, response) => {
      const answer = () => cluster.behaviour(request, response);
      if (stalls && request.url?.startsWith(`${path}?`)) held.push(answer);
      else answer();
    });
    return () => {
      stalls = false;
      held.forEach((answer) => answer());
    };
  }
  const asked = (path: string) =>
    eventually(() => api.asked.some((one) => one.startsWith(`${path}?`)), { what: path });
  const at = (path: string, more: object = {}) =>
    clusterId({ spiffeIDTemplate: `spiffe://example.org/${path}`, ...more });
  const PROD = { namespaceSelector: { matchLabels: { env: 'prod' } } };
  const inNamespace = (env: string) =>
    cluster.put(NAMESPACES, 'shop', { metadata: { labels: { env } } });

  it('is followed: what is added, changed and taken away counts within 100 ms', async (t) => {
    cluster.put(CLUSTER_SPIFFE_IDS, 'ns', clusterId(NS));
    await start(t);
    await becomes('ns/shop');
    await eventually(() => cluster.watched(CLUSTER_SPIFFE_IDS), { what: 'the watch' });
    const changes = () =>
      new Promise<number>((resolve) => {
        const since = performance.now();
        const stop = whole.entitlements.onChange(() => {
          stop();
          resolve(performance.now() - since);
        });
      });
    for (const [spec, expected] of [
      [
        { spiffeIDTemplate: 'spiffe://example.org/{{ .PodMeta.Name }}' },
        'spiffe://example.org/web',
      ],
      [undefined, ''],
      [NS, 'spiffe://example.org/ns/shop'],
    ] as const) {
      const told = changes();
      if (spec) cluster.put(CLUSTER_SPIFFE_IDS, 'ns', clusterId(spec));
      else cluster.remove(CLUSTER_SPIFFE_IDS, 'ns');
      assert.ok((await told) < 100);
      assert.equal(ids().join(), expected);
    }
  });

  it('keeps the last good version of a manifest that has become wrong', async (t) => {
    cluster.put(CLUSTER_SPIFFE_IDS, 'ns', clusterId(NS));
    await start(t);
    await becomes('ns/shop');
    cluster.put(CLUSTER_SPIFFE_IDS, 'ns', clusterId({ spiffeIDTemplate: '{{ nonsense }}' }));
    await eventually(() => log.count('warn', 'manifest refused') === 1, { what: 'the warning' });
    const { fields } =
      log.lines.find(({ message }) => message === 'manifest refused') ?? assert.fail();
    assert.equal(fields.path, 'ClusterSPIFFEID/ns');
    assert.match(
      fields.reason ?? '',
      /^spec\.spiffeIDTemplate: template 1:4: the function nonsense/,
    );
    assert.equal(fields.detail, 'its last good version stays');
    assert.equal(ids().join(), 'spiffe://example.org/ns/shop');
  });

  it('asks for namespaces and the node only when a manifest does, and follows their labels', async (t) => {
    cluster.put(NAMESPACES, 'shop', { metadata: { labels: { env: 'test' } } });
    cluster.put(NODES, 'node-1', { metadata: { labels: { zone: 'a' } } });
    await start(t);
    await eventually(() => cluster.watched(CLUSTER_SPIFFE_IDS), { what: 'the watch' });
    assert.equal(
      api.asked.some((path) => /namespaces|nodes/.test(path)),
      false,
    );
    const spec = {
      spiffeIDTemplate: 'spiffe://example.org/zone/{{ .NodeMeta.Labels.zone }}',
      namespaceSelector: { matchExpressions: [{ key: 'env', operator: 'In', values: ['prod'] }] },
    };
    cluster.put(CLUSTER_SPIFFE_IDS, 'zone', clusterId(spec));
    await eventually(() => cluster.watched(NAMESPACES) && cluster.watched(NODES), { what: 'both' });
    assert.deepEqual(ids(), []);
    cluster.put(NAMESPACES, 'shop', { metadata: { labels: { env: 'prod' } } });
    await becomes('zone/a');
    cluster.put(NODES, 'node-1', { metadata: { labels: { zone: 'b' } } });
    await becomes('zone/b');
    cluster.remove(NAMESPACES, 'shop');
    await becomes();
  });

  it('without the right to namespaces says so once, and grants what asks for none', async (t) => {
    cluster.refuse(NAMESPACES, 403);
    const env = { namespaceSelector: { matchLabels: { env: 'prod' } } };
    cluster.put(CLUSTER_SPIFFE_IDS, 'ns', clusterId(NS));
    cluster.put(
      CLUSTER_SPIFFE_IDS,
      'env',
      clusterId({ spiffeIDTemplate: 'spiffe://example.org/env', ...env }),
    );
    await start(t);
    await becomes('ns/shop');
    await whole.cluster?.followed.heard;
    const said = log.lines.filter(({ fields }) => fields.path === NAMESPACES);
    assert.equal(said.length, 1);
    assert.match(
      said[0]?.fields.detail ?? '',
      /lacks namespaces: list, watch; until then no Cluster/,
    );
  });

  it('takes nothing away for a change that is the first to need namespaces or the node', async (t) => {
    inNamespace('prod');
    cluster.put(NODES, 'node-1', { metadata: { labels: { zone: 'a' } } });
    cluster.put(CLUSTER_SPIFFE_IDS, 'a', at('a'));
    await start(t);
    await becomes('a');
    await eventually(() => cluster.watched(CLUSTER_SPIFFE_IDS), { what: 'the watch' });
    const had: string[] = [];
    whole.entitlements.onChange(() => had.push(ids().join()));
    for (const [path, spec] of [
      [NAMESPACES, PROD],
      [NODES, { spiffeIDTemplate: 'spiffe://example.org/{{ .NodeMeta.Labels.zone }}' }],
    ] as const) {
      const asked = api.asked.length;
      const letGo = stall(path);
      cluster.put(CLUSTER_SPIFFE_IDS, 'a', at('a', spec));
      cluster.put(
        CLUSTER_SPIFFE_IDS,
        'b',
        at('b', { podSelector: { matchLabels: { no: 'pod' } } }),
      );
      await eventually(() => api.asked.slice(asked).some((one) => one.startsWith(`${path}?`)), {
        what: path,
      });
      assert.deepEqual(ids(), ['spiffe://example.org/a']);
      letGo();
      await eventually(() => cluster.watched(path), { what: 'the watch' });
    }
    inNamespace('test');
    cluster.put(CLUSTER_SPIFFE_IDS, 'a', at('a', PROD));
    await becomes();
    assert.ok(had.slice(0, -1).every((one) => one === 'spiffe://example.org/a'));
  });

  it('has no fallback in documents before the cluster has told of its own', async (t) => {
    cluster.put(
      CLUSTER_SPIFFE_IDS,
      'own',
      at('own', { podSelector: { matchLabels: { app: 'web' } } }),
    );
    const letGo = stall(CLUSTER_SPIFFE_IDS);
    await start(t, { enabled: true }, [
      { ...at('fallback', { fallback: true }), metadata: { name: 'fallback' } },
    ]);
    await asked(CLUSTER_SPIFFE_IDS);
    assert.deepEqual(ids(), []);
    const { verdicts } = await whole.explain(SELECTORS);
    assert.deepEqual(
      verdicts.map(({ kind }) => kind),
      ['undecided'],
    );
    letGo();
    await becomes('own');
    cluster.remove(CLUSTER_SPIFFE_IDS, 'own');
    await becomes('fallback');
  });

  it('has no fallback for pods of which it may not read the namespace, and says why', async (t) => {
    cluster.refuse(NAMESPACES, 403);
    cluster.put(CLUSTER_SPIFFE_IDS, 'own', at('own', PROD));
    cluster.put(CLUSTER_SPIFFE_IDS, 'fallback', at('fallback', { fallback: true }));
    await start(t);
    await whole.cluster?.followed.heard;
    assert.deepEqual(ids(), []);
    const { verdicts } = await whole.explain(SELECTORS);
    assert.deepEqual(
      verdicts.map(({ kind }) => kind),
      ['undecided', 'undecided'],
    );
    const notes = whole.status().map(({ note }) => note);
    assert.match(notes.join(), /shop\/web: namespaceSelector env=prod: .* are not known yet/);
  });

  it('keeps a fallback while the server is away, for as long as the namespace was known', async (t) => {
    inNamespace('test');
    cluster.put(CLUSTER_SPIFFE_IDS, 'own', at('own', PROD));
    cluster.put(CLUSTER_SPIFFE_IDS, 'fallback', at('fallback', { fallback: true }));
    await start(t);
    await becomes('fallback');
    cluster.away(true);
    await eventually(() => log.count('warn', 'cannot be followed') > 0, { what: 'the warning' });
    assert.deepEqual(ids(), ['spiffe://example.org/fallback']);
    cluster.put(PODS, 'new', pod({ uid: 'uid-new', name: 'new', namespace: 'new' }));
    inNamespace('prod');
    cluster.away(false);
    await becomes('own');
    // Of a namespace that was never told of nobody knows what it is for.
    await eventually(() => pods.index.byUid('uid-new'), { what: 'the pod' });
    const other = ['k8s:ns:new', 'k8s:pod-uid:uid-new'] as Selector[];
    assert.deepEqual(whole.entitlements.match(other), []);
    cluster.put(NAMESPACES, 'new', { metadata: {} });
    await eventually(() => whole.entitlements.match(other).length === 1, { what: 'the fallback' });
  });

  it('looks again at what a change is about, and at nothing else', async (t) => {
    inNamespace('prod');
    cluster.put(CLUSTER_SPIFFE_IDS, 'own', at('own', PROD));
    cluster.put(STATIC_ENTRIES, 'db', {
      metadata: {},
      spec: { spiffeID: 'spiffe://example.org/db', selectors: ['unix:uid:70'] },
    });
    await start(t);
    await becomes('own');
    const entry = () => whole.entitlements.match(['unix:uid:70' as Selector])[0];
    await eventually(() => entry(), { what: 'the entry' });
    await whole.cluster?.followed.heard;
    await eventually(() => cluster.watched(NAMESPACES), { what: 'the watch' });
    const before = entry();
    const concerned: unknown[] = [];
    whole.entitlements.onChange((pod) => concerned.push(pod));
    cluster.put(NAMESPACES, 'other', { metadata: { labels: { a: 'b' } } });
    cluster.put(NAMESPACES, 'shop', { metadata: { labels: { env: 'prod', team: 'blue' } } });
    inNamespace('test');
    await becomes();
    assert.deepEqual(concerned, ['k8s:pod-uid:uid-web'], 'its processes alone, and once');
    assert.equal(entry(), before);
  });

  it('lets a process wait for what may be for it: in a pod all, else the static entries', async (t) => {
    const peer = {} as Peer;
    const attest = (...selectors: string[]) => {
      const attestor: Attestor = {
        name: 'kubernetes',
        attest: () => ({ selectors: selectors as Selector[] }),
      };
      const state = { told: false };
      const { signal } = new AbortController();
      void Promise.resolve(whole.patient(attestor).attest(peer, { signal })).then(
        () => (state.told = true),
      );
      return state;
    };
    let letGo = stall(CLUSTER_SPIFFE_IDS);
    await start(t);
    let [host, inPod] = [attest(), attest('k8s:ns:shop')];
    await eventually(() => host.told, { what: 'the process of the host' });
    assert.equal(inPod.told, false);
    letGo();
    await eventually(() => inPod.told, { what: 'the process in a pod' });
    whole.close();

    letGo = stall(STATIC_ENTRIES);
    await start(t);
    [host, inPod] = [attest(), attest('k8s:ns:shop')];
    await eventually(() => cluster.watched(FEDERATED) && cluster.watched(CLUSTER_SPIFFE_IDS), {
      what: 'the others',
    });
    assert.deepEqual([host.told, inPod.told], [false, false]);
    letGo();
    await eventually(() => host.told && inPod.told, { what: 'both' });
  });

  it('goes on without the CRDs, and says so', async (t) => {
    for (const path of [CLUSTER_SPIFFE_IDS, STATIC_ENTRIES, FEDERATED]) cluster.refuse(path, 404);
    await start(t, { enabled: true }, [clusterId(NS, { name: 'ns' })]);
    await whole.cluster?.followed.heard;
    assert.deepEqual(ids(), ['spiffe://example.org/ns/shop']);
    const details = log.lines.flatMap(({ fields }) => fields.detail ?? []);
    assert.equal(details.filter((text) => text.includes('CRDs of SPIRE')).length, 3);
  });

  it('stays as it was while the API server is away, and catches up without a restart', async (t) => {
    cluster.put(CLUSTER_SPIFFE_IDS, 'ns', clusterId(NS));
    await start(t);
    await becomes('ns/shop');
    cluster.away(true);
    await eventually(() => log.count('warn', 'cannot be followed') > 0, { what: 'the warning' });
    assert.deepEqual(ids(), ['spiffe://example.org/ns/shop']);
    cluster.remove(CLUSTER_SPIFFE_IDS, 'ns');
    cluster.put(
      CLUSTER_SPIFFE_IDS,
      'b',
      clusterId({ ...NS, spiffeIDTemplate: 'spiffe://example.org/b' }),
    );
    cluster.away(false);
    await becomes('b');
  });

  it('reads manifests from files too, which go before those of the cluster', async (t) => {
    const same = 'spiffe://example.org/same';
    cluster.put(CLUSTER_SPIFFE_IDS, 'here', clusterId({ spiffeIDTemplate: same, hint: 'cluster' }));
    await start(t, { enabled: true }, [
      clusterId({ spiffeIDTemplate: same, hint: 'file' }, { name: 'there' }),
    ]);
    await whole.cluster?.followed.heard;
    assert.deepEqual(
      whole.entitlements.match(SELECTORS).map(({ hint }) => hint),
      ['file'],
    );
    const { verdicts } = await whole.explain(SELECTORS);
    assert.deepEqual(
      verdicts.map(({ kind }) => kind),
      ['applies', 'shadowed'],
    );
    writeDocuments([]);
    await eventually(() => whole.entitlements.match(SELECTORS)[0]?.hint === 'cluster', {
      what: 'it',
    });
  });

  it('takes heed of its own class only', async (t) => {
    const of = (className: string | undefined) =>
      clusterId({
        spiffeIDTemplate: `spiffe://example.org/${className ?? 'none'}`,
        ...(className === undefined ? {} : { className }),
      });
    cluster.put(CLUSTER_SPIFFE_IDS, 'a', of('mine'));
    cluster.put(CLUSTER_SPIFFE_IDS, 'b', of('other'));
    cluster.put(CLUSTER_SPIFFE_IDS, 'c', of(undefined));
    await start(t, { enabled: true, class_name: 'mine' });
    await becomes('mine');
    await whole.cluster?.followed.heard;
    whole.close();
    await start(t, { enabled: true, class_name: 'mine', watch_classless: true });
    await becomes('mine', 'none');
  });

  it('has static entries, and says of federated domains that nobody gets their bundles yet', async (t) => {
    cluster.put(STATIC_ENTRIES, 'db', {
      metadata: {},
      spec: {
        spiffeID: 'spiffe://example.org/db',
        ...{ selectors: ['unix:uid:70'], federatesWith: ['partner.example'] },
      },
    });
    cluster.put(FEDERATED, 'partner', {
      metadata: {},
      spec: {
        ...{ trustDomain: 'partner.example', bundleEndpointURL: 'https://partner.example/' },
        bundleEndpointProfile: { type: 'https_web' },
      },
    });
    await start(t);
    await whole.cluster?.followed.heard;
    const match = (selector: string) => whole.entitlements.match([selector as Selector]);
    await eventually(() => match('unix:uid:70').length === 1, { what: 'the entry' });
    assert.equal(match('unix:uid:70')[0]?.source, 'ClusterStaticEntry/db');
    assert.equal(match('unix:uid:71').length, 0);
    const details = log.lines.flatMap(({ fields }) => fields.detail ?? []);
    assert.ok(
      details.some((text) =>
        text.startsWith('bundles of partner.example are not fetched yet: one of it has'),
      ),
    );
  });

  const staticEntry = (parentID: string, uid: string) => ({
    metadata: {},
    spec: { spiffeID: 'spiffe://example.org/db', parentID, selectors: [`unix:uid:${uid}`] },
  });
  const alias = (name: string) => `spiffe://example.org/nodes/${name}`;
  const agent = (uid: string) => `spiffe://example.org/spire/agent/k8s_psat/blue/${uid}`;

  it('gives static entries to the node that their parentID means, and says of others why not', async (t) => {
    cluster.put(NODES, 'node-1', { metadata: { uid: 'uid-here', labels: {} } });
    const parents = [agent('uid-here'), agent('uid-there'), ...['a', 'b'].map(alias)];
    for (const [n, parent] of parents.entries()) {
      cluster.put(STATIC_ENTRIES, `e${n}`, staticEntry(parent, String(n)));
    }
    await start(t, { enabled: true, parent_ids: [alias('a')] });
    await whole.cluster?.followed.heard;
    const uids = () =>
      parents.flatMap((_, n) =>
        whole.entitlements.match([`unix:uid:${n}` as Selector]).length > 0 ? [n] : [],
      );
    assert.deepEqual(uids(), [0, 2]);
    cluster.put(STATIC_ENTRIES, 'e4', { metadata: {}, spec: { spiffeID: 'none' } });
    const status = () => whole.status().map(({ source, note }) => `${source}: ${note ?? ''}`);
    await eventually(() => status().length === 5, { what: 'the last one' });
    assert.deepEqual(
      status().map((line) => line.replace(/(has no effect): spec.*/, '$1')),
      [
        'ClusterStaticEntry/e0: in force: spiffe://example.org/db',
        'ClusterStaticEntry/e2: in force: spiffe://example.org/db',
        'ClusterStaticEntry/e1: it has no effect here: its parentID names the node uid-there, this one is uid-here',
        'ClusterStaticEntry/e3: it has no effect here: its parentID spiffe://example.org/nodes/b is not known to mean this node (policy.kubernetes.parent_ids)',
        'ClusterStaticEntry/e4: refused, it has no effect',
      ],
    );
    const { verdicts } = await whole.explain(['unix:uid:1' as Selector]);
    assert.deepEqual(
      verdicts.flatMap((one) =>
        one.kind === 'placeholder' ? [[one.entry.source, one.reason]] : [],
      ),
      [['ClusterStaticEntry/e1', 'its parentID names the node uid-there, this one is uid-here']],
    );
    const refused = log.lines.filter(({ message }) => message === 'manifest refused');
    assert.deepEqual(
      refused.map(({ fields }) => fields.path),
      ['ClusterStaticEntry/e3', 'ClusterStaticEntry/e4'],
    );
    // One that moves away is not kept as the last good one.
    cluster.put(STATIC_ENTRIES, 'e0', staticEntry(agent('uid-there'), '0'));
    cluster.put(STATIC_ENTRIES, 'e1', staticEntry(agent('uid-here'), '1'));
    await eventually(() => uids().join() === '1,2', { what: 'they have moved' });
  });

  it('takes no static entry away for a parentID that is the first to name a node', async (t) => {
    cluster.put(NODES, 'node-1', { metadata: { uid: 'uid-here', labels: {} } });
    cluster.put(STATIC_ENTRIES, 'e', staticEntry('', '7'));
    await start(t);
    const has = () => whole.entitlements.match(['unix:uid:7' as Selector]).length;
    await eventually(() => has() === 1, { what: 'the entry' });
    await eventually(() => cluster.watched(STATIC_ENTRIES), { what: 'the watch' });
    const had: number[] = [];
    whole.entitlements.onChange(() => had.push(has()));
    const letGo = stall(NODES);
    cluster.put(STATIC_ENTRIES, 'e', staticEntry(agent('uid-here'), '7'));
    await asked(NODES);
    assert.equal(has(), 1);
    letGo();
    await eventually(() => cluster.watched(NODES), { what: 'the node' });
    assert.equal(has(), 1);
    cluster.put(STATIC_ENTRIES, 'e', staticEntry(agent('uid-there'), '7'));
    await eventually(() => has() === 0, { what: 'its end' });
    assert.ok(had.slice(0, -1).every((n) => n === 1));
  });

  it('lets a process of the host wait for the node that an entry names, and says it is open', async (t) => {
    cluster.put(STATIC_ENTRIES, 'e', staticEntry(agent('uid-here'), '7'));
    cluster.put(NODES, 'node-1', { metadata: { uid: 'uid-here', labels: {} } });
    const letGo = stall(NODES);
    await start(t);
    let heard = false;
    void whole.cluster?.followed.entriesHeard.then(() => (heard = true));
    await asked(NODES);
    await eventually(() => cluster.watched(STATIC_ENTRIES), { what: 'the entries' });
    assert.equal(heard, false);
    const { verdicts } = await whole.explain(['unix:uid:7' as Selector]);
    assert.deepEqual(
      verdicts.map(({ kind }) => kind),
      ['undecided'],
    );
    letGo();
    await eventually(() => heard, { what: 'the node' });
    assert.equal(whole.entitlements.match(['unix:uid:7' as Selector]).length, 1);
  });

  it('refuses the later of two federated domains of one trust domain', async (t) => {
    const federated = (creationTimestamp: string, trustDomain = 'partner.example') => ({
      metadata: { creationTimestamp },
      spec: {
        ...{ trustDomain, bundleEndpointURL: 'https://partner.example/' },
        bundleEndpointProfile: { type: 'https_web' },
      },
    });
    // The name decides where the time does not.
    cluster.put(FEDERATED, 'b', federated('2026-01-02T00:00:00Z'));
    cluster.put(FEDERATED, 'a', federated('2026-01-02T00:00:00Z'));
    cluster.put(FEDERATED, 'z', federated('2026-01-01T00:00:00Z'));
    await start(t);
    await whole.cluster?.followed.heard;
    const notes = () =>
      whole.status().map(({ source, note }) => `${source}: ${note?.split(' but ')[1] ?? ''}`);
    const has = (name: string) => `ClusterFederatedTrustDomain/${name} has partner.example too`;
    assert.deepEqual(notes(), [
      'ClusterFederatedTrustDomain/z: ',
      `ClusterFederatedTrustDomain/a: ${has('z')}`,
      `ClusterFederatedTrustDomain/b: ${has('z')}`,
    ]);
    assert.equal(log.count('warn', 'manifest refused'), 2);
    cluster.remove(FEDERATED, 'z');
    await eventually(() => notes().length === 2, { what: 'it is gone' });
    assert.deepEqual(notes(), [
      'ClusterFederatedTrustDomain/a: ',
      `ClusterFederatedTrustDomain/b: ${has('a')}`,
    ]);
  });

  describe('of which the status is written', () => {
    const LEASES = '/apis/coordination.k8s.io/v1/namespaces/credence/leases';
    const WRITES = { enabled: true, write_status: true };
    const statusOf = (path: string, name: string) =>
      cluster.written
        .filter((one) => one.path === `${path}/${name}/status`)
        .map(({ body }) => body);

    it('counts the pods of all nodes, and writes once what has changed', async (t) => {
      cluster.put(NAMESPACES, 'shop', { metadata: { labels: {} } });
      cluster.put(CLUSTER_SPIFFE_IDS, 'ns', clusterId(NS));
      cluster.put(STATIC_ENTRIES, 'db', {
        metadata: {},
        spec: { spiffeID: 'spiffe://example.org/db', selectors: ['unix:uid:70'] },
      });
      for (let n = 0; n < 250; n++) {
        cluster.put(PODS, `p${n}`, pod({ uid: `u${n}`, name: `p${n}`, nodeName: `node-${n % 3}` }));
      }
      await start(t, WRITES);
      await eventually(() => statusOf(STATIC_ENTRIES, 'db').length > 0, { what: 'the status' });
      const stats = {
        ...{ namespacesSelected: 1, namespacesIgnored: 0, podsSelected: 251, entriesToSet: 251 },
        ...{ podEntryRenderFailures: 0, entriesMasked: 0, entryFailures: 0 },
      };
      assert.deepEqual(statusOf(CLUSTER_SPIFFE_IDS, 'ns'), [{ status: { stats } }]);
      assert.deepEqual(statusOf(STATIC_ENTRIES, 'db'), [
        { status: { rendered: true, masked: false, set: true } },
      ]);
      const lease = cluster.written.find(({ path }) => path === LEASES);
      const { spec } = (lease?.body ?? assert.fail()) as { spec: { holderIdentity: string } };
      assert.equal(spec.holderIdentity, 'node-1');
      // What it has written itself is no change.
      assert.deepEqual(ids(), ['spiffe://example.org/ns/shop']);
    });

    it('is not left as it was where a manifest has become wrong, or is for no node', async (t) => {
      const set = { status: { rendered: true, masked: false, set: true } };
      const refused = { rendered: false, masked: false, set: false };
      const [bad, good] = ['no id', 'spiffe://example.org/db'].map((spiffeID) => ({
        ...set,
        metadata: {},
        spec: { spiffeID, selectors: ['unix:uid:70'] },
      }));
      cluster.put(NODES, 'node-2', { metadata: { uid: 'uid-2', labels: {} } });
      cluster.put(STATIC_ENTRIES, 'bad', bad ?? assert.fail());
      cluster.put(STATIC_ENTRIES, 'good', good ?? assert.fail());
      cluster.put(STATIC_ENTRIES, 'there', staticEntry(agent('uid-2'), '1'));
      cluster.put(STATIC_ENTRIES, 'gone', { ...set, ...staticEntry(agent('uid-3'), '2') });
      cluster.put(CLUSTER_SPIFFE_IDS, 'ns', {
        ...clusterId({ spiffeIDTemplate: '{{ nonsense }}' }),
        status: { stats: { podsSelected: 5, entriesToSet: 5 } },
      });
      await start(t, WRITES);
      await eventually(() => statusOf(STATIC_ENTRIES, 'bad').length > 0, { what: 'the status' });
      assert.deepEqual(statusOf(STATIC_ENTRIES, 'bad'), [{ status: refused }]);
      assert.deepEqual(statusOf(STATIC_ENTRIES, 'good'), []);
      assert.deepEqual(statusOf(STATIC_ENTRIES, 'there'), [set]);
      assert.deepEqual(statusOf(STATIC_ENTRIES, 'gone'), [
        { status: { ...refused, rendered: true } },
      ]);
      const [written] = statusOf(CLUSTER_SPIFFE_IDS, 'ns');
      assert.match(JSON.stringify(written), /"podsSelected":0.*"entriesToSet":0/);
    });

    it('says of a static entry that has become wrong that its last good version is still set', async (t) => {
      const spec = { spiffeID: 'spiffe://example.org/db', selectors: ['unix:uid:70'] };
      const set = { rendered: true, masked: false, set: true };
      cluster.put(STATIC_ENTRIES, 'e', { metadata: { uid: 'e' }, spec, status: set });
      await start(t, WRITES);
      await eventually(() => cluster.watched(STATIC_ENTRIES), { what: 'the watch' });
      const wrong = { ...spec, spiffeID: 'no id' };
      cluster.put(STATIC_ENTRIES, 'e', { metadata: { uid: 'e' }, spec: wrong, status: set });
      await eventually(() => statusOf(STATIC_ENTRIES, 'e').length > 0, {
        what: 'the status',
        timeoutMs: 45_000,
      });
      assert.deepEqual(statusOf(STATIC_ENTRIES, 'e'), [{ status: { ...set, rendered: false } }]);
      assert.equal(whole.entitlements.match(['unix:uid:70' as Selector]).length, 1);
    });

    it('is left to the node that has the lease', async (t) => {
      cluster.put(CLUSTER_SPIFFE_IDS, 'ns', clusterId(NS));
      cluster.put(LEASES, 'credence-status', { metadata: {}, spec: { holderIdentity: 'node-2' } });
      await start(t, WRITES);
      await becomes('ns/shop');
      await eventually(() => api.asked.some((path) => path.startsWith(`${LEASES}/`)), {
        what: 'it',
      });
      assert.deepEqual(cluster.written, []);
    });

    it('without the right to it goes on, and says so once', async (t) => {
      cluster.refuse(`PATCH ${CLUSTER_SPIFFE_IDS}/ns/status`, 403);
      cluster.put(CLUSTER_SPIFFE_IDS, 'ns', clusterId(NS));
      await start(t, WRITES);
      await becomes('ns/shop');
      await eventually(() => log.count('warn', 'is not written') === 1, { what: 'the warning' });
    });
  });

  it('is told of in status and explain', async (t) => {
    cluster.put(CLUSTER_SPIFFE_IDS, 'ns', clusterId(NS));
    cluster.put(CLUSTER_SPIFFE_IDS, 'bad', clusterId({ spiffeIDTemplate: 'x' }));
    cluster.put(
      CLUSTER_SPIFFE_IDS,
      'none',
      clusterId({ spiffeIDTemplate: 'spiffe://example.org/{{ .PodMeta.Labels.tier }}' }),
    );
    cluster.put(
      CLUSTER_SPIFFE_IDS,
      'near',
      clusterId({ ...NS, podSelector: { matchLabels: { app: 'cart' } } }),
    );
    await start(t);
    await becomes('ns/shop');
    await whole.cluster?.followed.heard;
    const figures = manifestFigures(whole.cluster ?? assert.fail());
    // Once for each manifest that gives a pod nothing.
    assert.equal(figures.renderFailures(), 1);
    cluster.put(
      CLUSTER_SPIFFE_IDS,
      'too',
      clusterId({ spiffeIDTemplate: 'spiffe://example.org/{{ .PodMeta.Labels.zone }}' }),
    );
    await eventually(() => figures.renderFailures() === 2, { what: 'the same pod again' });
    cluster.remove(CLUSTER_SPIFFE_IDS, 'too');
    await eventually(() => figures.renderFailures() === 1, { what: 'one less' });
    const pods = (podsSelected: number, entries: number) => ({ podsSelected, entries });
    assert.deepEqual(
      whole
        .status()
        .map(({ source, podsSelected, entries, note }) => ({
          ...{ source, podsSelected, entries, note: note?.split(':')[0] },
        }))
        .sort((a, b) => (a.source < b.source ? -1 : 1)),
      [
        {
          source: 'ClusterSPIFFEID/bad',
          podsSelected: undefined,
          entries: undefined,
          note: 'refused, it has no effect',
        },
        { source: 'ClusterSPIFFEID/near', ...pods(0, 0), note: undefined },
        { source: 'ClusterSPIFFEID/none', ...pods(1, 0), note: 'shop/web' },
        { source: 'ClusterSPIFFEID/ns', ...pods(1, 1), note: undefined },
      ],
    );
    const { identities, verdicts } = await whole.explain(SELECTORS);
    assert.deepEqual(
      identities.map(({ source }) => source),
      ['ClusterSPIFFEID/ns'],
    );
    const near = verdicts.find(({ entry }) => entry.source === 'ClusterSPIFFEID/near');
    assert.deepEqual(near?.kind === 'missing' ? near.missing : undefined, [
      'podSelector app=cart (the pod has app=web)',
    ]);
  });
});
