import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { policyFolder, TD } from '../../test/support/policy-folder.ts';
import { readPolicy } from './load.ts';
import { ALL_ATTESTORS, type Attests } from './unmatched.ts';

const folder = policyFolder();
const BOUND =
  'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}';

/** What is found in a `ClusterSPIFFEID`: line and message. */
function found(
  spec: object,
  { clusterName = '', attests = ALL_ATTESTORS }: { clusterName?: string; attests?: Attests } = {},
): string[] {
  const path = join(folder.path, 'p.yaml');
  const document = {
    ...{ apiVersion: 'spire.spiffe.io/v1alpha1', kind: 'ClusterSPIFFEID' },
    ...{ metadata: { name: 'web' }, spec: { spiffeIDTemplate: BOUND, ...spec } },
  };
  writeFileSync(path, JSON.stringify(document, undefined, 1));
  const clusterNames = { clusterName, clusterDomain: '' };
  const { faults, warnings } = readPolicy({
    paths: [path],
    trustDomain: TD,
    clusterNames,
    attests,
  });
  return [...faults, ...warnings.map(({ line, message }) => `${line}: ${message}`)];
}

describe('a ClusterSPIFFEID that gives no pod anything', () => {
  const selector = (text: string) => ({ workloadSelectorTemplates: ['k8s:sa:web', text] });
  const id = (rest: string) => ({ spiffeIDTemplate: `${BOUND}${rest}` });

  const CASES: readonly (readonly [why: string, spec: object, message: RegExp])[] = [
    [
      'a selector with = for a colon',
      selector('k8s:ns=shop'),
      /^11: spec\.workloadSelectorTemplates\[1\]: k8s:ns=shop matches no process: did you mean k8s:ns\?$/,
    ],
    ['a misspelled kind', selector('k8s:conatiner-name:x'), /did you mean k8s:container-name\?/],
    [
      'the same with a value of the pod',
      selector('k8s:pod-lable:app:{{ .PodMeta.Name }}'),
      /pod-label/,
    ],
    [
      'a type that there is not',
      selector('kubernetes:ns:a'),
      /no attestor makes selectors of the type kubernetes/,
    ],
    [
      'a blank in the ID',
      id('/s a/b'),
      /spec\.spiffeIDTemplate: no pod gets it: .*its path holds a character other/,
    ],
    [
      'a slash at the end',
      id('/'),
      /^8: spec\.spiffeIDTemplate: no pod gets it: .*its path has an empty segment/,
    ],
    ['two slashes', id('//a'), /its path has an empty segment/],
    [
      'a name that no host may have',
      { dnsNameTemplates: ['{{ .PodMeta.Name }}.s a'] },
      /spec\.dnsNameTemplates\[0\]: no pod gets it/,
    ],
    [
      'a name of the cluster that is not set',
      id('/{{ .ClusterName }}'),
      /spec\.spiffeIDTemplate: no pod gets it: \.ClusterName has no value while policy\.kubernetes\.cluster_name is not set/,
    ],
    ['the same in lower case', id('/{{ lower .ClusterName }}'), /\.ClusterName has no value/],
    [
      'a domain that is not set',
      { dnsNameTemplates: ['{{ .PodMeta.Name }}.{{ .ClusterDomain }}'] },
      /policy\.kubernetes\.cluster_domain/,
    ],
  ];
  for (const [why, spec, message] of CASES) {
    it(`is warned of: ${why}`, () => {
      const [first, ...others] = found(spec);
      assert.match(first ?? 'nothing', message);
      assert.deepEqual(others, []);
    });
  }

  const SOUND: readonly (readonly [what: string, spec: object, clusterName?: string])[] = [
    ['the usual template', {}],
    ['selectors of all its parts', selector('k8s:pod-label:app:{{ .PodMeta.Name }}')],
    ['a value of the pod for a kind', selector('k8s:{{ .PodMeta.Name }}:x')],
    ['a name of the cluster that is set', id('/{{ .ClusterName }}'), 'blue'],
    ['one that has another in its place', id('/{{ .ClusterName | default "blue" }}')],
    ['a name of the pod as a host', { dnsNameTemplates: ['{{ .PodMeta.Name }}.svc'] }],
  ];
  for (const [what, spec, clusterName] of SOUND) {
    it(`is none with ${what}`, () => {
      const told = found(spec, clusterName === undefined ? {} : { clusterName });
      assert.deepEqual(
        told.filter((line) => /matches no|no pod gets/.test(line)),
        [],
      );
    });
  }

  it('is said once where there are no pods at all', () => {
    const told = found(selector('k8s:ns:shop'), { attests: { discoverPath: false } });
    assert.deepEqual(
      told.map((line) => /applies to no process/.test(line)),
      [true],
    );
  });

  it('has no doubts about what rests on a template that could not be read', () => {
    const told = found({
      spiffeIDTemplate: 'spiffe://example.org/{{ .Nope }}',
      podSelector: { matchLabels: { a: 'b' } },
    });
    assert.equal(told.length, 1);
    assert.match(told[0] ?? '', /\.Nope is not supported/);
  });
});
