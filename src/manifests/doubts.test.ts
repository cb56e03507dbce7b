import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { pathText } from '../core/yaml.ts';
import { readClusterSpiffeId } from './cluster-spiffe-id.ts';
import { readManifest } from './manifest.ts';

const NS = '{{ .PodMeta.Namespace }}';
const SA = '{{ .PodSpec.ServiceAccountName }}';
const BOUND = `spiffe://{{.TrustDomain}}/ns/{{.PodMeta.Namespace}}/sa/{{.PodSpec.ServiceAccountName}}`;
const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;
const ONE = 'spiffe://example.org/a';
const WEB = { matchLabels: { app: 'web' } };
const PROD = { matchLabels: { env: 'prod' } };
const expression = (operator: string, ...values: string[]) => ({
  matchExpressions: [{ key: 'a', operator, ...(values.length > 0 ? { values } : {}) }],
});
const NOT = expression('NotIn', 'b');

/** What is warned of a `spec`: each key, and what is said of it. */
function warnings(spiffeIDTemplate: string, spec: object = {}): string[] {
  const report = (path: readonly (string | number)[], expected: string) =>
    assert.fail(`${pathText(path)}: ${expected}`);
  const found: string[] = [];
  const value = {
    ...{ apiVersion: 'spire.spiffe.io/v1alpha1', kind: 'ClusterSPIFFEID' },
    ...{ metadata: { name: 'a' }, spec: { spiffeIDTemplate, ...spec } },
  };
  const manifest = readManifest(value, { place: undefined, report }) ?? assert.fail();
  readClusterSpiffeId(manifest, {
    ...{ trustDomain: parseTrustDomain('example.org'), place: undefined, report },
    classes: { className: '', classless: false },
    warn: (message, path = []) => void found.push(`${pathText(path)}: ${message}`),
  });
  return found;
}

describe('doubts about a ClusterSPIFFEID', () => {
  const SOUND: readonly (readonly [why: string, template: string, spec?: object])[] = [
    ['the usual template, whatever selects', BOUND],
    ['the usual template with a podSelector', BOUND, { podSelector: WEB }],
    ['the usual template with a namespaceSelector', BOUND, { namespaceSelector: PROD }],
    ['the usual template for all namespaces but some', BOUND, { namespaceSelector: NOT }],
    ['the usual template as a fallback', BOUND, { fallback: true }],
    ['namespace and account in one segment, told apart', `spiffe://example.org/${NS}.${SA}`],
    ['the same with a name of the cluster', `spiffe://example.org/{{ .ClusterName }}-${NS}_${SA}`],
    ['lower case of them', 'spiffe://example.org/{{ lower .PodMeta.Namespace }}/' + SA],
    ['one pod', 'spiffe://example.org/{{ .PodMeta.UID }}'],
    [
      'namespace and account as selectors',
      ONE,
      { workloadSelectorTemplates: ['k8s:ns:shop', 'k8s:sa:web'], podSelector: WEB },
    ],
    ['an account in chosen namespaces', `spiffe://example.org/${SA}`, { namespaceSelector: PROD }],
    [
      'an image by its content, in a namespace',
      ONE,
      { workloadSelectorTemplates: ['k8s:ns:shop', `k8s:container-image:web@${DIGEST}`] },
    ],
    ['a DNS name of what Kubernetes gave', BOUND, { dnsNameTemplates: [`${SA}.${NS}.svc`] }],
    ['labels of the node', `${BOUND}/{{ index .NodeMeta.Labels "zone" }}`],
  ];
  for (const [why, template, spec] of SOUND) {
    it(`are none of ${why}`, () => assert.deepEqual(warnings(template, spec), []));
  }

  const LITTLE: readonly (readonly [
    why: string,
    template: string,
    spec: object,
    ...found: RegExp[],
  ])[] = [
    ['one ID for all pods', ONE, {}, /^spec\.spiffeIDTemplate: it selects every pod of the clu/],
    [
      'the account without its namespace',
      `spiffe://example.org/${SA}`,
      {},
      /every pod of the cluster.*; put \.PodMeta\.Namespace into spiffeIDTemplate, or k8s:ns:NAME into/,
    ],
    [
      'the namespace alone',
      `spiffe://example.org/${NS}`,
      {},
      /^spec\.spiffeIDTemplate: the namespace is all .*; put \.PodSpec\.ServiceAccountName into/,
    ],
    [
      'the namespace alone, as a selector',
      ONE,
      { workloadSelectorTemplates: ['k8s:ns:shop'] },
      /the namespace is all/,
    ],
    [
      'labels of the namespace alone, as a selector',
      ONE,
      { workloadSelectorTemplates: ['k8s:ns-label:env:prod'] },
      /the namespace is all/,
    ],
    [
      'some namespaces alone',
      ONE,
      { namespaceSelector: PROD },
      /^spec\.namespaceSelector: the namespace is all/,
    ],
    [
      'a selector that every process has',
      ONE,
      { workloadSelectorTemplates: [`k8s:ns:${NS}`, `k8s:sa:${SA}`] },
      /it selects every pod/,
    ],
    [
      'labels alone',
      ONE,
      { podSelector: WEB },
      /^spec\.podSelector: labels alone .* any namespace/,
    ],
    [
      'labels within namespaces',
      ONE,
      { podSelector: WEB, namespaceSelector: PROD },
      /^spec\.podSelector: labels alone .* a pod there gets the ID; put \.PodSpec\.Serv/,
    ],
    [
      'a label that need only be there',
      ONE,
      { podSelector: expression('Exists') },
      /^spec\.podSelector: labels alone/,
    ],
    [
      'all namespaces but some',
      ONE,
      { namespaceSelector: NOT },
      /^spec\.namespaceSelector: it only leaves some out: whoever may make a pod in any namespace/,
    ],
    [
      'all pods but some',
      `spiffe://example.org/${NS}`,
      { podSelector: expression('DoesNotExist') },
      /^spec\.podSelector: it only leaves some out: whoever may make a pod there/,
    ],
    [
      'a namespace of which a part was cut off',
      `spiffe://example.org/{{ .PodMeta.Namespace | trimSuffix "-dev" }}/${SA}`,
      {},
      /every pod of the cluster/,
    ],
    [
      'a label in the ID',
      `${BOUND}/{{ .PodMeta.Labels.app | default "none" | lower }}`,
      {},
      /^spec\.spiffeIDTemplate: it takes the pod's label app: whoever may change the pod chooses that part/,
    ],
    [
      'an annotation in the ID, of any namespace',
      'spiffe://example.org/{{ index .PodMeta.Annotations "example.org/id" }}',
      {},
      /takes the pod's annotation example\.org\/id/,
      /it selects every pod/,
    ],
    [
      'an annotation in a DNS name',
      BOUND,
      { dnsNameTemplates: ['a.example.org', '{{ index .PodMeta.Annotations .PodMeta.Name }}'] },
      /^spec\.dnsNameTemplates\[1\]: it takes some annotation/,
    ],
    [
      'the tag of an image',
      BOUND,
      { workloadSelectorTemplates: ['k8s:container-image:web:{{ .PodMeta.Name }}'] },
      /^spec\.workloadSelectorTemplates\[0\]: k8s:container-image:web:.* is no digest/,
    ],
    [
      'two values in one segment',
      `spiffe://example.org/${NS}-${SA}`,
      {},
      /^spec\.spiffeIDTemplate: two values in one segment/,
    ],
    [
      'two values around one of the configuration',
      `spiffe://example.org/${NS}-{{ .ClusterName }}-${SA}`,
      {},
      /two values in one segment/,
    ],
    [
      'an account that may hold the dot after it',
      `spiffe://example.org/${SA}.${NS}`,
      {},
      /two values in one segment/,
    ],
  ];
  for (const [why, template, spec, ...found] of LITTLE) {
    it(`are told of ${why}`, () => {
      const told = warnings(template, spec);
      assert.equal(told.length, found.length, told.join('\n'));
      found.forEach((pattern, n) => assert.match(told[n] ?? '', pattern));
    });
  }
});
