import { toIdentityError } from '../core/errors.ts';
import { shown } from '../core/yaml.ts';
import { dnsNameFault } from '../identity/dns-name.ts';
import { selectorFault } from '../identity/selector.ts';
import { spiffeIdFault, type TrustDomain } from '../identity/spiffe-id.ts';
import { doubtsAbout } from './doubts.ts';
import {
  checkKeys,
  readFlag,
  readHint,
  readText,
  readTexts,
  readTrustDomains,
  readTtl,
  refuseFlags,
  type Section,
} from './fields.ts';
import { readLabelSelector, type LabelSelector } from './label-selector.ts';
import type { Manifest, ManifestContext } from './manifest.ts';
import { constantOf, fieldsOf, parseGoTemplate, type GoTemplate } from './template.ts';

/** A `ClusterSPIFFEID`, checked. Plain data: it crosses to and from the reload thread. */
export interface ClusterSpiffeId {
  readonly name: string;
  readonly source: string;
  readonly uid: string;
  readonly createdAt: string;
  readonly spiffeId: GoTemplate;
  readonly podSelector: LabelSelector;
  readonly namespaceSelector: LabelSelector;
  readonly dnsNames: readonly GoTemplate[];
  readonly selectors: readonly GoTemplate[];
  readonly x509SvidTtlMs: number | undefined;
  readonly jwtSvidTtlMs: number | undefined;
  readonly federatesWith: readonly TrustDomain[];
  readonly hint: string;
  readonly fallback: boolean;
}

const KEYS = [
  ...['spiffeIDTemplate', 'podSelector', 'namespaceSelector', 'dnsNameTemplates'],
  ...['workloadSelectorTemplates', 'ttl', 'jwtTtl', 'federatesWith', 'className', 'fallback'],
  ...['hint', 'admin', 'downstream', 'autoPopulateDNSNames'],
];
/** Fields that ask for what a daemon of one node cannot do, and what that would be. */
export const REFUSED: Readonly<Record<string, string>> = {
  admin: 'there is no server API for an admin workload to call',
  downstream: 'there is no downstream server to sign for',
};
const REFUSED_HERE = {
  ...REFUSED,
  autoPopulateDNSNames: 'endpoints of services are not followed, name them in dnsNameTemplates',
};
/** A pod has as many at the most. */
const MAX_TEMPLATES = 64;

/** Reads the `spec`. What it returns counts only if nothing was reported. */
export function readClusterSpiffeId(
  { name, source, uid, createdAt, spec }: Manifest,
  { trustDomain, warn }: ManifestContext,
): ClusterSpiffeId {
  checkKeys(spec, KEYS);
  refuseFlags(spec, REFUSED_HERE);
  const federatesWith = readTrustDomains(spec, 'federatesWith');
  if (federatesWith.includes(trustDomain)) {
    const why = `it names ${trustDomain}, which is the own trust domain: that has no effect`;
    warn(why, [...spec.path, 'federatesWith']);
  }
  const faults: string[] = [];
  const judged: Section = {
    ...spec,
    report(path, expected, which) {
      faults.push(expected);
      spec.report(path, expected, which);
    },
  };
  const id = {
    ...{ name, source, uid, createdAt },
    spiffeId: readIdTemplate(judged, trustDomain),
    podSelector: readLabelSelector(judged, 'podSelector'),
    namespaceSelector: readLabelSelector(judged, 'namespaceSelector'),
    dnsNames: readTemplates(judged, 'dnsNameTemplates', dnsNameFault),
    selectors: readTemplates(judged, 'workloadSelectorTemplates', selectorFault),
    x509SvidTtlMs: readTtl(spec, 'ttl'),
    jwtSvidTtlMs: readTtl(spec, 'jwtTtl'),
    federatesWith: federatesWith.filter((domain) => domain !== trustDomain),
    hint: readHint(spec),
    fallback: readFlag(spec, 'fallback'),
  };
  // What it rests on is not known of what could not be read.
  if (faults.length === 0)
    for (const { key, why } of doubtsAbout(id)) warn(why, [...spec.path, ...key]);
  return id;
}

/** Fields of all templates of a manifest. */
function fieldsUsed({ spiffeId, dnsNames, selectors }: ClusterSpiffeId): Set<string> {
  return new Set([spiffeId, ...dnsNames, ...selectors].flatMap((one) => [...fieldsOf(one)]));
}

/** Whether pods get nothing by it before the node is known. */
export function usesNode(id: ClusterSpiffeId): boolean {
  return [...fieldsUsed(id)].some((name) => name.startsWith('NodeMeta.'));
}

function readIdTemplate(spec: Section, trustDomain: TrustDomain): GoTemplate {
  const text = readText(spec, 'spiffeIDTemplate');
  const path = [...spec.path, 'spiffeIDTemplate'];
  const example = `spiffe://${trustDomain}/ns/{{ .PodMeta.Namespace }}`;
  if (text === '') {
    spec.report(path, `expected a template such as ${example}`);
    return { text, parts: [] };
  }
  const template = parse(spec, path, text);
  const fault = idFault(template, trustDomain);
  if (fault !== undefined) spec.report(path, `expected an ID such as ${example}, but ${fault}`);
  return template;
}

/** What is wrong with the part of an ID that is the same for everybody. */
function idFault(template: GoTemplate, trustDomain: TrustDomain): string | undefined {
  const constant = constantOf(template);
  const [first] = template.parts;
  const beginning = constant ?? (first?.kind === 'text' ? first.value : '');
  const domain = /^spiffe:\/\/([^/]*)\//.exec(beginning)?.[1];
  if (domain !== undefined && domain !== trustDomain) {
    return `its trust domain is ${shown(domain)}, this one's is ${trustDomain}`;
  }
  if (beginning !== '' && !beginning.startsWith('spiffe://')) {
    return 'it does not start with spiffe://';
  }
  return constant === undefined ? undefined : spiffeIdFault(constant);
}

function readTemplates(
  spec: Section,
  key: string,
  faultOf: (text: string) => string | undefined,
): readonly GoTemplate[] {
  const texts = readTexts(spec, key);
  if (texts.length > MAX_TEMPLATES) {
    spec.report([...spec.path, key], `expected at most ${MAX_TEMPLATES}, got ${texts.length}`);
    return [];
  }
  return texts.map((text, n) => {
    const path = [...spec.path, key, n];
    const template = parse(spec, path, text);
    const constant = constantOf(template);
    const fault = constant === undefined ? undefined : faultOf(constant);
    if (fault !== undefined) spec.report(path, `${shown(text)}: ${fault}`);
    return template;
  });
}

/** Of a template that is none something harmless; what is wrong is reported with its place in it. */
function parse(spec: Section, path: Section['path'], text: string): GoTemplate {
  try {
    return parseGoTemplate(text);
  } catch (thrown) {
    const { message } = toIdentityError(thrown, 'ERR_POLICY');
    spec.report(path, `template ${message}`);
    return { text, parts: [{ kind: 'field', name: '' }] };
  }
}
