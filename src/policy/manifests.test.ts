import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { IdentityError } from '../core/errors.ts';
import { policyFolder, TD } from '../../test/support/policy-folder.ts';
import { loadInThread } from './load-in-thread.ts';
import { compilePolicy } from './policy.ts';

const folder = policyFolder();

const HEAD = 'apiVersion: spire.spiffe.io/v1alpha1\n';
const clusterId = (spec: string, name = 'web') =>
  `${HEAD}kind: ClusterSPIFFEID\nmetadata:\n  name: ${name}\nspec:\n${spec}`;
const TEMPLATE =
  '  spiffeIDTemplate: spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}\n';
const staticEntry = (spec: string) =>
  `${HEAD}kind: ClusterStaticEntry\nmetadata: {name: db}\nspec:\n${spec}`;
const STATIC =
  '  spiffeID: spiffe://example.org/db\n  parentID: spiffe://example.org/node\n  selectors: ["unix:uid:1"]\n';
const federated = (spec: string) =>
  `${HEAD}kind: ClusterFederatedTrustDomain\nmetadata: {name: partner}\nspec:\n${spec}`;
const FEDERATED =
  '  trustDomain: partner.example\n  bundleEndpointURL: https://partner.example/bundle\n  bundleEndpointProfile: {type: https_web}\n';

describe('loadPolicy() of manifests', () => {
  it('takes all kinds, several to a file, beside entries', () => {
    const { entries, manifests, warnings } = folder.load(
      [
        clusterId(
          `${TEMPLATE}  className: ''\n  ttl: 1h0m0s\n  fallback: true\nstatus: {stats: {}}\n`,
        ),
        'entries:\n  - spiffe_id: spiffe://example.org/a\n    selectors: [unix:uid:5]\n',
        staticEntry(`${STATIC}  x509SVIDTTL: 30m\n  federatesWith: [spiffe://partner.example]\n`),
        federated(FEDERATED),
      ].join('---\n'),
    );
    assert.deepEqual(
      entries.map(({ spiffeId, x509SvidTtlMs, federatesWith }) => [
        spiffeId,
        x509SvidTtlMs,
        federatesWith,
      ]),
      [
        ['spiffe://example.org/a', undefined, []],
        ['spiffe://example.org/db', 1_800_000, ['partner.example']],
      ],
    );
    const [id] = manifests.clusterIds;
    assert.deepEqual([id?.x509SvidTtlMs, id?.fallback], [3_600_000, true]);
    assert.equal(id?.source, `ClusterSPIFFEID/web, ${folder.path}/p.yaml:1`);
    assert.deepEqual(
      manifests.federated.map((one) => one.trustDomain as string),
      ['partner.example'],
    );
    assert.deepEqual(
      warnings.map(({ line, message }) => `${line}: ${message}`),
      [
        '21: spec.parentID: it is not honoured in documents: the entry applies on every node that reads this one',
        '26: bundles of partner.example are not fetched yet: one of it has to be set by hand or lie in federation.bundles_dir',
      ],
    );
  });

  it('takes a list as kubectl prints it, also as JSON', () => {
    const item = {
      apiVersion: 'spire.spiffe.io/v1alpha1',
      kind: 'ClusterSPIFFEID',
      metadata: { name: 'web', uid: 'u', creationTimestamp: '2026-01-01T00:00:00Z', labels: {} },
      spec: { spiffeIDTemplate: 'spiffe://example.org/{{ .PodMeta.Namespace }}' },
    };
    const list = { apiVersion: 'v1', kind: 'List', items: [item], metadata: {} };
    const text = JSON.stringify(list);
    assert.equal(folder.load(text, 'p.json').manifests.clusterIds[0]?.uid, 'u');
  });

  it('is the same when another thread reads them', async () => {
    const text = [clusterId(TEMPLATE), federated(FEDERATED)].join('---\n');
    const { entries, manifests } = folder.load(text);
    const sources = { paths: [`${folder.path}/p.yaml`], trustDomain: TD };
    const { policy } = await loadInThread(sources, new AbortController());
    assert.deepEqual(policy.manifests, manifests);
    assert.equal(policy.revision, compilePolicy(entries, manifests).revision);
    assert.equal(policy.size, 1);
  });

  it('has another revision when a manifest says something else, and not when it moves', () => {
    const of = (text: string) => {
      const { entries, manifests } = folder.load(text);
      return compilePolicy(entries, manifests).revision;
    };
    const one = of(clusterId(TEMPLATE));
    assert.equal(of(`# moved\n${clusterId(TEMPLATE)}`), one);
    assert.notEqual(of(clusterId(`${TEMPLATE}  hint: x\n`)), one);
  });

  const REFUSALS: readonly (readonly [why: string, text: string, message: string])[] = [
    [
      'a template that is none',
      clusterId('  spiffeIDTemplate: spiffe://example.org/{{ .PodMeta.Nam }}\n'),
      'p.yaml:6:21: spec.spiffeIDTemplate: template 1:25: .PodMeta.Nam is not supported, did you mean .PodMeta.Name?',
    ],
    [
      'one of several templates that is none',
      clusterId(`${TEMPLATE}  dnsNameTemplates:\n    - a.b\n    - '{{ range }}'\n`),
      'p.yaml:9:7: spec.dnsNameTemplates[1]: template 1:4: range is not supported: values only, no control structures',
    ],
    [
      'no template',
      clusterId('  hint: a\n'),
      'p.yaml:6:3: spec.spiffeIDTemplate: expected a template such as spiffe://example.org/ns/{{ .PodMeta.Namespace }}',
    ],
    [
      'an ID of another trust domain',
      clusterId('  spiffeIDTemplate: spiffe://other.org/{{ .PodMeta.Name }}\n'),
      "p.yaml:6:21: spec.spiffeIDTemplate: expected an ID such as spiffe://example.org/ns/{{ .PodMeta.Namespace }}, but its trust domain is other.org, this one's is example.org",
    ],
    [
      'a constant DNS name that is none',
      clusterId(`${TEMPLATE}  dnsNameTemplates: [a_b]\n`),
      'p.yaml:7:22: spec.dnsNameTemplates[0]: a_b: the label "a_b" is not letters, digits and inner hyphens',
    ],
    [
      'a field that nobody knows',
      clusterId(`${TEMPLATE}  podSelectors: {}\n`),
      'p.yaml:7:3: spec.podSelectors: unknown key, did you mean podSelector?',
    ],
    [
      'an admin',
      clusterId(`${TEMPLATE}  admin: true\n`),
      'p.yaml:7:10: spec.admin: expected false: there is no server API for an admin workload to call',
    ],
    [
      'a downstream',
      clusterId(`${TEMPLATE}  downstream: true\n`),
      'p.yaml:7:15: spec.downstream: expected false: there is no downstream server to sign for',
    ],
    [
      'DNS names of services',
      clusterId(`${TEMPLATE}  autoPopulateDNSNames: true\n`),
      'p.yaml:7:25: spec.autoPopulateDNSNames: expected false: endpoints of services are not followed, name them in dnsNameTemplates',
    ],
    [
      'a lifetime that is none',
      clusterId(`${TEMPLATE}  ttl: 1d\n`),
      'p.yaml:7:8: spec.ttl: expected a duration from 5s to 30d, such as 1h30m, got 1d',
    ],
    [
      'an operator that is none',
      clusterId(
        `${TEMPLATE}  podSelector: {matchExpressions: [{key: a, operator: Gt, values: ['1']}]}\n`,
      ),
      'p.yaml:7:55: spec.podSelector.matchExpressions[0].operator: expected one of In, NotIn, Exists, DoesNotExist, got "Gt"',
    ],
    [
      'two of one name',
      `${clusterId(TEMPLATE)}---\n${clusterId(TEMPLATE)}`,
      'p.yaml:11:9: metadata.name: expected a name of its own, but p.yaml:1 has the same',
    ],
    [
      'no name',
      `${HEAD}kind: ClusterSPIFFEID\nspec: {spiffeIDTemplate: 'spiffe://example.org/a'}`,
      'p.yaml:1:1: metadata.name: expected a name of at most 253 characters',
    ],
    [
      'another version',
      'apiVersion: spire.spiffe.io/v1\nkind: ClusterSPIFFEID\nmetadata: {name: a}\nspec: {}',
      'p.yaml:1:13: apiVersion: expected spire.spiffe.io/v1alpha1, got spire.spiffe.io/v1',
    ],
    [
      'a static entry for downstream servers',
      staticEntry(`${STATIC}  downstream: true\n`),
      'p.yaml:8:15: spec.downstream: expected false: there is no downstream server to sign for',
    ],
    [
      'a static entry with a selector that is none',
      staticEntry(STATIC.replace('unix:uid:1', 'unix')),
      'p.yaml:7:15: spec.selectors[0]: expected a selector such as unix:uid:1000, but it has no type: write type:value, as in unix:uid:1000',
    ],
    [
      'a parent that is none',
      staticEntry(STATIC.replace('spiffe://example.org/node', 'node')),
      'p.yaml:6:13: spec.parentID: expected the SPIFFE ID of an agent or a node, but it does not start with spiffe://',
    ],
    [
      'a static entry that is there already',
      `entries:\n  - {spiffe_id: 'spiffe://example.org/db', selectors: ['unix:uid:1']}\n---\n${staticEntry(STATIC)}`,
      'p.yaml:8:13: spec.spiffeID: expected an entry of its own, but p.yaml:2 has the same SPIFFE ID and selectors',
    ],
    [
      'an endpoint without TLS',
      federated(FEDERATED.replace('https://', 'http://')),
      'p.yaml:6:22: spec.bundleEndpointURL: expected an https URL without user and password, got http://partner.example/bundle',
    ],
    [
      'an endpoint without an ID',
      federated(FEDERATED.replace('https_web', 'https_spiffe')),
      'p.yaml:7:26: spec.bundleEndpointProfile.endpointSPIFFEID: expected the SPIFFE ID of the endpoint, but it does not start with spiffe://',
    ],
    [
      'a federation with itself',
      federated(FEDERATED.replace('partner.example', 'example.org')),
      'p.yaml:5:16: spec.trustDomain: expected a trust domain such as partner.example, but it is the own trust domain',
    ],
  ];
  for (const [why, text, message] of REFUSALS) {
    it(`refuses ${why}`, () => assert.equal(folder.refusal(text), message));
  }

  const ONE = '  spiffeIDTemplate: spiffe://example.org/a\n';
  const DOUBTS: readonly (readonly [why: string, spec: string, ...messages: string[]])[] = [
    [
      'an own trust domain',
      `${TEMPLATE}  federatesWith: [example.org]\n`,
      '7: spec.federatesWith: it names example.org, which is the own trust domain: that has no effect',
    ],
    [
      'another class',
      `${TEMPLATE}  className: other\n`,
      "7: spec.className: ClusterSPIFFEID/web is of the class other, this daemon's (policy.kubernetes.class_name) is none: it has no effect",
    ],
    [
      'each thing that others than the operator choose, at its key',
      `${ONE}  podSelector:\n    matchLabels: {a: b}\n  workloadSelectorTemplates:\n    - unix:uid:0\n    - k8s:container-image:nginx:1\n  dnsNameTemplates:\n    - '{{ .PodMeta.Labels.app }}.example.org'\n`,
      "13: spec.dnsNameTemplates[0]: it takes the pod's label app: whoever may change the pod chooses the name in its certificate; write the name out, or make it of .PodMeta.Namespace and .PodSpec.ServiceAccountName",
      '11: spec.workloadSelectorTemplates[1]: k8s:container-image:nginx:1 is no digest: whoever may push to that registry moves a tag; ask for the digest instead (…@sha256:…)',
      '7: spec.podSelector: labels alone select its pods: whoever may make or change a pod in any namespace gets the ID; put .PodMeta.Namespace and .PodSpec.ServiceAccountName into spiffeIDTemplate, or k8s:ns:NAME and k8s:sa:NAME into workloadSelectorTemplates',
    ],
  ];
  for (const [why, spec, ...messages] of DOUBTS) {
    it(`warns of ${why}`, () => {
      const found = folder
        .load(clusterId(spec))
        .warnings.map(({ line, message }) => `${line}: ${message.replace(`${folder.path}/`, '')}`);
      assert.deepEqual(found, messages);
    });
  }

  it('lets nothing but its own error out, whatever a manifest is made of', () => {
    const kind = fc.constantFrom(
      'ClusterSPIFFEID',
      'ClusterStaticEntry',
      'ClusterFederatedTrustDomain',
      'List',
    );
    const key = fc.constantFrom(
      ...['spiffeIDTemplate', 'podSelector', 'namespaceSelector', 'dnsNameTemplates', 'ttl'],
      ...['workloadSelectorTemplates', 'spiffeID', 'selectors', 'trustDomain', 'federatesWith'],
      ...[
        'bundleEndpointProfile',
        'bundleEndpointURL',
        'hint',
        'fallback',
        'className',
        '__proto__',
      ],
    );
    const spec = fc.oneof(fc.jsonValue(), fc.dictionary(key, fc.jsonValue()));
    fc.assert(
      fc.property(kind, spec, fc.jsonValue(), (which, body, metadata) => {
        const apiVersion = 'spire.spiffe.io/v1alpha1';
        const text = JSON.stringify({
          apiVersion,
          kind: which,
          metadata,
          spec: body,
          items: [body],
        });
        try {
          folder.load(text, 'p.json');
        } catch (thrown) {
          assert.ok(thrown instanceof IdentityError, String(thrown));
        }
      }),
      { numRuns: 300 },
    );
  });
});
