import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeLogger } from '../../test/support/issuer.ts';
import { selectorOfPod } from '../identity/pod-selector.ts';
import type { Selector } from '../identity/selector.ts';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { readClusterSpiffeId, type ClusterSpiffeId } from '../manifests/cluster-spiffe-id.ts';
import { readManifest } from '../manifests/manifest.ts';
import type { NodeFacts, PodFacts } from '../manifests/template-fields.ts';
import { createClusterIds } from './cluster-ids.ts';
import { createCounting } from './tally.ts';

const trustDomain = parseTrustDomain('example.org');

function manifest(name: string, spec: object): ClusterSpiffeId {
  const fail = (path: readonly unknown[], expected: string) =>
    assert.fail(`${path.join('.')}: ${expected}`);
  const value = {
    apiVersion: 'spire.spiffe.io/v1alpha1',
    kind: 'ClusterSPIFFEID',
    metadata: { name },
    spec: { spiffeIDTemplate: `spiffe://example.org/${name}`, ...spec },
  };
  const context = { place: undefined, report: fail };
  const classes = { className: '', classless: false };
  const read = readManifest(value, context) ?? assert.fail();
  return readClusterSpiffeId(read, { ...context, trustDomain, classes, warn: () => undefined });
}

function pod(parts: Partial<Omit<PodFacts, 'labels'>> & { labels?: Record<string, string> }) {
  return {
    ...{ name: 'web-1', namespace: 'shop', uid: 'u1', serviceAccount: 'web', nodeName: 'n' },
    ...{ hostname: '', subdomain: '', annotations: new Map<string, string>() },
    ...parts,
    labels: new Map(Object.entries(parts.labels ?? {})),
  } satisfies PodFacts;
}

class FakePods {
  readonly pods = new Map<string, PodFacts>();
  readonly #listeners = new Set<(uid: string) => void>();
  byUid = (uid: string) => this.pods.get(uid);
  all = () => this.pods.values();
  onChange = (listener: (uid: string) => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };
  put(one: PodFacts): void {
    this.pods.set(one.uid ?? '', one);
    for (const listener of this.#listeners) listener(one.uid ?? '');
  }
}

function setUp(...manifests: ClusterSpiffeId[]) {
  const pods = new FakePods();
  const log = new FakeLogger();
  const clock = new FakeClock();
  const namespaces = new Map<string, ReadonlyMap<string, string>>();
  const state = { manifests: manifests as readonly ClusterSpiffeId[], complete: true };
  let node: NodeFacts | undefined;
  let onLabels: () => void = () => undefined;
  const around = {
    ...{ trustDomain, clusterName: 'blue', clusterDomain: 'cluster.local' },
    ignoredNamespaces: new Set(['kube-system']),
    namespaceLabels(name: string) {
      onLabels();
      return namespaces.get(name);
    },
    node: () => node,
    complete: () => state.complete,
  };
  const ids = createClusterIds({ manifests: () => state.manifests, pods, around, clock, log });
  let changes = 0;
  const concerned: (Selector | undefined)[] = [];
  ids.onChange((having) => {
    changes++;
    concerned.push(having);
  });
  const held = (...more: string[]) => ['k8s:pod-uid:u1', ...more] as Selector[];
  return {
    ...{ pods, clock, log, namespaces, ids, held, around, state },
    match: (...more: string[]) => ids.match(held(...more)).map(({ id }) => id as string),
    changes: () => changes,
    concerned,
    told: () => ids.explain(held()).verdicts.map((one) => [one.entry.source, one.kind]),
    reasons: () =>
      ids.explain(held()).verdicts.flatMap((one) => ('reason' in one ? [one.reason] : [])),
    /** Called each time a pod is assessed that a manifest with a namespaceSelector may be for. */
    assessing: (step: () => void) => (onLabels = step),
    setNode: (next: NodeFacts) => (node = next),
  };
}

describe('a ClusterSPIFFEID', () => {
  it('gives each pod it selects an ID by its template', () => {
    const ns = manifest('ns', {
      spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}',
      podSelector: { matchLabels: { app: 'web' } },
      ...{ ttl: '30m', jwtTtl: '1m30s', federatesWith: ['partner.example'], hint: 'h' },
      dnsNameTemplates: ['{{ .PodMeta.Name }}.{{ .ClusterDomain }}'],
    });
    const { pods, ids, held, match } = setUp(ns);
    pods.put(pod({ labels: { app: 'web' } }));
    assert.deepEqual(ids.match(held()), [
      {
        id: 'spiffe://example.org/ns/shop',
        x509SvidTtlMs: 1_800_000,
        jwtSvidTtlMs: 90_000,
        dnsNames: ['web-1.cluster.local'],
        federatesWith: ['partner.example'],
        hint: 'h',
        priority: 0,
        source: 'ClusterSPIFFEID/ns',
      },
    ]);
    pods.put(pod({ labels: { app: 'cart' } }));
    assert.deepEqual(match(), []);
  });

  it('gives nothing to a process of which no pod is known, whatever its selectors are', () => {
    const { ids } = setUp(manifest('a', {}));
    const selectors = ['k8s:pod-uid:other', 'k8s:ns:shop', 'unix:uid:0'] as Selector[];
    assert.deepEqual(ids.match(selectors), []);
    assert.deepEqual(ids.match(selectors.slice(1)), []);
  });

  it('asks for the selectors of workloadSelectorTemplates as well', () => {
    const id = manifest('a', {
      workloadSelectorTemplates: ['k8s:container-name:{{ .PodMeta.Labels.app }}'],
    });
    const { pods, match, ids, held } = setUp(id);
    pods.put(pod({ labels: { app: 'web' } }));
    assert.deepEqual(match(), []);
    assert.deepEqual(match('k8s:container-name:web'), ['spiffe://example.org/a']);
    const [verdict] = ids.explain(held()).verdicts;
    assert.equal(verdict?.kind, 'missing');
    assert.deepEqual(verdict.missing, ['k8s:container-name:web']);
  });

  it('with a namespaceSelector waits for the labels of the namespace', () => {
    const id = manifest('a', { namespaceSelector: { matchLabels: { env: 'prod' } } });
    const { pods, match, namespaces, ids, held, changes, reasons } = setUp(id);
    pods.put(pod({}));
    assert.deepEqual(match(), []);
    const missing = () => {
      const [verdict] = ids.explain(held()).verdicts;
      return verdict?.kind === 'missing' ? verdict.missing : verdict?.kind;
    };
    assert.equal(missing(), 'undecided');
    assert.deepEqual(reasons(), [
      'namespaceSelector env=prod: the labels of the namespace shop are not known yet',
    ]);
    namespaces.set('shop', new Map([['env', 'test']]));
    ids.refresh();
    assert.deepEqual(missing(), ['namespaceSelector env=prod (the namespace shop has env=test)']);
    namespaces.set('shop', new Map([['env', 'prod']]));
    ids.refresh();
    assert.deepEqual(match(), ['spiffe://example.org/a']);
    assert.equal(changes(), 2);
  });

  it('tells of those pods alone for which other labels of a namespace come to something else', () => {
    const prod = manifest('prod', {
      namespaceSelector: { matchLabels: { env: 'prod' } },
      podSelector: { matchLabels: { app: 'web' } },
    });
    const { pods, ids, namespaces, concerned, match } = setUp(prod);
    for (const name of ['shop', 'bank']) namespaces.set(name, new Map());
    pods.put(pod({ labels: { app: 'web' } }));
    pods.put(pod({ uid: 'u2', labels: { app: 'cart' } }));
    pods.put(pod({ uid: 'u3', namespace: 'bank', labels: { app: 'web' } }));
    for (const uid of pods.pods.keys()) ids.match([selectorOfPod(uid)]);
    namespaces.set('shop', new Map([['team', 'blue']]));
    ids.refresh(new Set(['shop']));
    assert.deepEqual(concerned, [], 'no manifest asks for that label');
    namespaces.set('shop', new Map([['env', 'prod']]));
    ids.refresh(new Set(['shop']));
    assert.deepEqual(concerned, ['k8s:pod-uid:u1']);
    assert.deepEqual(match(), ['spiffe://example.org/prod']);
    namespaces.set('shop', new Map());
    ids.refresh(new Set(['shop', 'bank']));
    assert.deepEqual(concerned, ['k8s:pod-uid:u1', 'k8s:pod-uid:u1']);
    assert.deepEqual(match(), []);
  });

  it('tells of all pods of a namespace when one of them cannot be assessed', () => {
    const { pods, ids, namespaces, concerned, assessing } = setUp(
      manifest('prod', { namespaceSelector: { matchLabels: { env: 'prod' } } }),
    );
    namespaces.set('shop', new Map([['env', 'prod']]));
    for (const uid of ['u1', 'u2', 'u3']) {
      pods.put(pod({ uid }));
      ids.match([selectorOfPod(uid)]);
    }
    namespaces.set('shop', new Map());
    let looks = 0;
    assessing(() => assert.notEqual(looks++, 1));
    ids.refresh(new Set(['shop']));
    assert.deepEqual(concerned, ['k8s:pod-uid:u1', 'k8s:pod-uid:u2', 'k8s:pod-uid:u3']);
  });

  it('compares the pods of a namespace for a moment only, and tells of the rest as they are', () => {
    const { pods, ids, namespaces, clock, concerned, assessing } = setUp(
      manifest('prod', { namespaceSelector: { matchLabels: { env: 'prod' } } }),
    );
    namespaces.set('shop', new Map());
    for (let n = 0; n < 100; n++) {
      pods.put(pod({ uid: `u${n}` }));
      ids.match([selectorOfPod(`u${n}`)]);
    }
    let looks = 0;
    assessing(() => {
      looks++;
      clock.spend(2);
    });
    ids.refresh(new Set(['shop']));
    assert.deepEqual([looks, concerned.length], [3, 97]);
  });

  it('leaves out the namespaces that the configuration names', () => {
    const { pods, match } = setUp(manifest('a', {}));
    pods.put(pod({ namespace: 'kube-system' }));
    assert.deepEqual(match(), []);
  });

  it('is a fallback for pods that no other one is for', () => {
    const fallback = manifest('fallback', { fallback: true });
    const own = manifest('own', { podSelector: { matchLabels: { app: 'web' } } });
    const { pods, match, ids, held } = setUp(fallback, own);
    pods.put(pod({ labels: { app: 'web' } }));
    assert.deepEqual(match(), ['spiffe://example.org/own']);
    const [verdict] = ids.explain(held()).verdicts;
    assert.match(
      JSON.stringify(verdict),
      /it is a fallback for those, and ClusterSPIFFEID\/own is/,
    );
    pods.put(pod({ labels: { app: 'cart' } }));
    assert.deepEqual(match(), ['spiffe://example.org/fallback']);
  });

  it('is a fallback also where the template of the other one fails', () => {
    const fallback = manifest('fallback', { fallback: true });
    const own = manifest('own', {
      spiffeIDTemplate: 'spiffe://example.org/{{ .PodMeta.Labels.tier }}',
    });
    const { pods, match } = setUp(own, fallback);
    pods.put(pod({}));
    assert.deepEqual(match(), ['spiffe://example.org/fallback']);
    pods.put(pod({ labels: { tier: 'front' } }));
    assert.deepEqual(match(), ['spiffe://example.org/front']);
  });

  it('is no fallback while it is not known whether another one is for the pod', () => {
    const fallback = manifest('fallback', { fallback: true });
    const own = manifest('own', { namespaceSelector: { matchLabels: { env: 'prod' } } });
    const { pods, match, namespaces, ids, told, reasons } = setUp(fallback, own);
    pods.put(pod({}));
    assert.deepEqual(match(), []);
    assert.deepEqual(told(), [
      ['ClusterSPIFFEID/fallback', 'undecided'],
      ['ClusterSPIFFEID/own', 'undecided'],
    ]);
    assert.equal(
      reasons()[0],
      'it is a fallback, and whether ClusterSPIFFEID/own is for this pod is not known yet',
    );
    namespaces.set('shop', new Map([['env', 'test']]));
    ids.refresh();
    assert.deepEqual(match(), ['spiffe://example.org/fallback']);
    namespaces.set('shop', new Map([['env', 'prod']]));
    ids.refresh();
    assert.deepEqual(match(), ['spiffe://example.org/own']);
  });

  it('is no fallback while what another one gives depends on a node that is not known', () => {
    const fallback = manifest('fallback', { fallback: true });
    const own = manifest('own', {
      spiffeIDTemplate:
        'spiffe://example.org/{{ index .NodeMeta.Labels "zone" | default "nowhere" }}',
    });
    const { pods, match, setNode, ids, reasons } = setUp(own, fallback);
    pods.put(pod({}));
    assert.deepEqual(match(), []);
    assert.match(
      reasons()[0] ?? '',
      /^spiffeIDTemplate: \.NodeMeta\.Labels: the node is not known yet/,
    );
    setNode({ name: 'n', uid: 'n', labels: new Map(), annotations: new Map() });
    ids.refresh();
    assert.deepEqual(match(), ['spiffe://example.org/nowhere']);
  });

  it('is no fallback while those of the cluster were not heard of', () => {
    const plain = manifest('plain', { podSelector: { matchLabels: { app: 'web' } } });
    const { pods, match, ids, state, reasons } = setUp(manifest('f', { fallback: true }), plain);
    state.complete = false;
    pods.put(pod({}));
    assert.deepEqual(match(), []);
    assert.match(reasons()[0] ?? '', /what else the cluster has is not known yet$/);
    pods.put(pod({ labels: { app: 'web' } }));
    assert.deepEqual(match(), ['spiffe://example.org/plain']);
    pods.put(pod({}));
    state.complete = true;
    ids.refresh();
    assert.deepEqual(match(), ['spiffe://example.org/f']);
  });

  it('is a fallback where the other one is not for the pod, whatever is not known besides', () => {
    const fallback = manifest('fallback', { fallback: true });
    const [env, web] = [{ matchLabels: { env: 'prod' } }, { matchLabels: { app: 'web' } }];
    const other = manifest('other', { namespaceSelector: env, podSelector: web });
    const broken = manifest('broken', {
      spiffeIDTemplate: 'spiffe://example.org/{{ .NodeMeta.Name }}/{{ .PodMeta.Labels.none }}',
    });
    const { pods, match } = setUp(other, broken, fallback);
    pods.put(pod({}));
    assert.deepEqual(match(), ['spiffe://example.org/fallback']);
  });

  const INVALID: readonly (readonly [string, object, RegExp])[] = [
    [
      'an ID with an empty segment',
      { spiffeIDTemplate: 'spiffe://example.org/{{ index .PodMeta.Labels "none" }}' },
      /^spiffeIDTemplate gives "spiffe:\/\/example\.org\/": its path has an empty segment$/,
    ],
    [
      'an ID of another trust domain',
      { spiffeIDTemplate: 'spiffe://{{ .PodMeta.Labels.domain }}/a' },
      /the trust domain of this one is example\.org$/,
    ],
    [
      'an ID with a character that none has',
      { spiffeIDTemplate: 'spiffe://example.org/{{ index .PodMeta.Annotations "a" }}' },
      /its path holds a character other than/,
    ],
    [
      'more segments than the template has, out of an annotation',
      { spiffeIDTemplate: 'spiffe://example.org/ns/{{ index .PodMeta.Annotations "path" }}' },
      /^spiffeIDTemplate: "other\/sa\/admin" is more than one path segment$/,
    ],
    [
      'more segments than the template has, by what a function makes of a label',
      { spiffeIDTemplate: 'spiffe://example.org/{{ .PodMeta.Labels.dots | replace "." "/" }}x' },
      /^spiffeIDTemplate: "\/\/" is more than one path segment$/,
    ],
    [
      'a whole ID out of an annotation',
      { spiffeIDTemplate: '{{ index .PodMeta.Annotations "id" }}' },
      /is more than one path segment$/,
    ],
    [
      'dots for a segment',
      { spiffeIDTemplate: 'spiffe://example.org/{{ .PodMeta.Labels.dots }}' },
      /dots only/,
    ],
    [
      'a DNS name that is none',
      { dnsNameTemplates: ['{{ .PodMeta.Labels.under }}.example.org'] },
      /^dnsNameTemplates\[0\] gives "a_b\.example\.org": /,
    ],
    [
      'a selector that is none',
      { workloadSelectorTemplates: ['unix:uid:0', '{{ .PodMeta.Name }}'] },
      /^workloadSelectorTemplates\[1\] gives "web-1": it has no type/,
    ],
    [
      'a label that the pod does not have',
      { spiffeIDTemplate: 'spiffe://example.org/{{ .PodMeta.Labels.none }}' },
      /\.PodMeta\.Labels has no none$/,
    ],
  ];
  for (const [name, spec, reason] of INVALID) {
    it(`gives nothing where it comes to ${name}, and says so once`, () => {
      const { pods, match, ids, held, log } = setUp(manifest('a', spec), manifest('b', {}));
      const labels = { domain: 'other.org', dots: '..', under: 'a_b' };
      const annotations = new Map([
        ['a', 'x y'],
        ['path', 'other/sa/admin'],
        ['id', 'spiffe://example.org/admin'],
      ]);
      pods.put(pod({ labels, annotations }));
      assert.deepEqual(match('unix:uid:0'), ['spiffe://example.org/b']);
      pods.put(pod({ labels, annotations }));
      match();
      const [verdict] = ids.explain(held()).verdicts;
      assert.equal(verdict?.kind, 'placeholder');
      assert.match(verdict.reason, reason);
      assert.equal(log.count('warn', 'a pod gets no identity of a ClusterSPIFFEID'), 1);
    });
  }

  it('takes a slash that the template itself brings, and none that the pod is left with', () => {
    const { pods, match } = setUp(
      manifest('a', {
        spiffeIDTemplate:
          'spiffe://example.org/{{ .PodMeta.Labels.none | default "no/team" }}/{{ index .PodMeta.Annotations "path" | replace "/" "." }}',
      }),
    );
    pods.put(pod({ annotations: new Map([['path', 'a/b']]) }));
    assert.deepEqual(match(), ['spiffe://example.org/no/team/a.b']);
  });

  it('tells of pods whose annotations give another ID, and of no others', () => {
    const id = manifest('a', {
      spiffeIDTemplate: 'spiffe://example.org/{{ index .PodMeta.Annotations "team" }}',
    });
    const { pods, match, changes, concerned } = setUp(id);
    const team = (name: string, other = '') =>
      pod({
        annotations: new Map([
          ['team', name],
          ['other', other],
        ]),
      });
    pods.put(team('blue'));
    assert.equal(changes(), 0);
    assert.deepEqual(match(), ['spiffe://example.org/blue']);
    pods.put(team('blue', 'x'));
    assert.equal(changes(), 0);
    pods.put(team('red'));
    assert.equal(changes(), 1);
    assert.deepEqual(concerned, ['k8s:pod-uid:u1'], 'the processes of other pods are let be');
    assert.deepEqual(match(), ['spiffe://example.org/red']);
  });

  it('does not hide a near miss, and says nothing of those for other pods', () => {
    const { pods, ids, held } = setUp(
      manifest('near', {
        podSelector: {
          matchLabels: { app: 'web' },
          matchExpressions: [{ key: 'tier', operator: 'In', values: ['a', 'b'] }],
        },
      }),
      manifest('far', { podSelector: { matchLabels: { x: '1', y: '2' } } }),
    );
    pods.put(pod({ labels: { app: 'web' } }));
    const { verdicts } = ids.explain(held());
    assert.deepEqual(
      verdicts.map((one) => [one.entry.source, one.kind === 'missing' ? one.missing : one.kind]),
      [['ClusterSPIFFEID/near', ['podSelector tier in (a,b) (the pod has no tier)']]],
    );
  });

  it('is explained for a pod that selectors describe', () => {
    const id = manifest('a', {
      spiffeIDTemplate:
        'spiffe://example.org/{{ .PodMeta.Namespace }}/{{ .PodSpec.ServiceAccountName }}',
      podSelector: { matchLabels: { 'example.org/app': 'web' } },
    });
    const { ids } = setUp(id);
    const selectors = ['k8s:ns:shop', 'k8s:sa:web', 'k8s:pod-label:example.org/app:web'];
    const told = ids.explain(selectors as Selector[]);
    assert.deepEqual(
      told.identities.map((one) => one.id as string),
      ['spiffe://example.org/shop/web'],
    );
    assert.deepEqual(ids.explain(['unix:uid:0'] as Selector[]).verdicts, []);
  });

  it('is counted as SPIRE counts it', () => {
    const a = manifest('a', { namespaceSelector: { matchLabels: { env: 'prod' } } });
    const b = manifest('b', { spiffeIDTemplate: 'spiffe://example.org/a' });
    const c = manifest('c', { spiffeIDTemplate: 'spiffe://example.org/{{ .PodMeta.Labels.x }}' });
    const { pods, ids, namespaces, around } = setUp(a, b, c);
    const prod = new Map([['env', 'prod']]);
    for (const name of ['shop', 'kube-system']) namespaces.set(name, prod);
    namespaces.set('test', new Map());
    pods.put(pod({}));
    pods.put(pod({ uid: 'u2', namespace: 'test', labels: { x: 'y' } }));
    const counting = createCounting([a, b, c], namespaces, around);
    for (const [one, all] of ids.assessments()) counting.add(one, all);
    const counts = [...counting.tallies()].map(([, { stats }]) => [
      ...[stats.namespacesSelected, stats.namespacesIgnored, stats.podsSelected],
      ...[stats.podEntryRenderFailures, stats.entriesMasked, stats.entriesToSet],
    ]);
    assert.deepEqual(counts, [
      [2, 1, 1, 0, 0, 1],
      [3, 1, 2, 0, 1, 1],
      [3, 1, 2, 1, 0, 1],
    ]);
  });
});
