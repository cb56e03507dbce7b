import { shown } from '../core/yaml.ts';
import { dnsNameFault } from '../identity/dns-name.ts';
import { selectorFault, type Selector } from '../identity/selector.ts';
import { spiffeIdFault } from '../identity/spiffe-id.ts';
import type { ClusterSpiffeId } from '../manifests/cluster-spiffe-id.ts';
import type { Doubt } from '../manifests/doubts.ts';
import { constantOf, type Expression, type GoTemplate } from '../manifests/template.ts';
import { neverMatches, type Attestable } from './unmatched.ts';

/** What templates know of the configuration; empty: not set. */
export interface ClusterNames {
  readonly clusterName: string;
  readonly clusterDomain: string;
}

type Judged = Pick<ClusterSpiffeId, 'spiffeId' | 'dnsNames' | 'selectors'>;

/**
 * Where a `ClusterSPIFFEID` gives no pod of this node anything, whatever the pod is: a selector that
 * none has, a part of an ID or a name that none may have, a field that the configuration leaves empty.
 */
export function clusterIdFindings(
  { spiffeId, dnsNames, selectors }: Judged,
  machine: Attestable,
  names: ClusterNames,
): readonly Doubt[] {
  const each = (key: string, templates: readonly GoTemplate[], judge: Judge): Doubt[] =>
    templates.flatMap((template, n) => {
      const why = unset(template, names) ?? judge(template);
      return why === undefined ? [] : [{ key: [key, n], why }];
    });
  const ofId = unset(spiffeId, names) ?? constantFault(spiffeId, spiffeIdFault);
  return [
    ...(ofId === undefined ? [] : [{ key: ['spiffeIDTemplate'], why: ofId }]),
    ...each('dnsNameTemplates', dnsNames, (name) => constantFault(name, dnsNameFault)),
    ...each('workloadSelectorTemplates', selectors, (selector) => ofNoPod(selector, machine)),
  ];
}

type Judge = (template: GoTemplate) => string | undefined;

function ofNoPod(template: GoTemplate, machine: Attestable): string | undefined {
  const constant = constantOf(template);
  const text = constant ?? shape(template);
  if (selectorFault(text) !== undefined) return constantFault(template, selectorFault);
  // Of other types a value that is not known yet has a form as well; and that there are no pods here is said once.
  const [first] = template.parts;
  const whole =
    constant !== undefined || (first?.kind === 'text' && /^k8s:[^:]+:/.test(first.value));
  return whole ? neverMatches(text as Selector, { ...machine, kubernetes: true }) : undefined;
}

/** What is wrong with the parts that are the same for every pod. */
function constantFault(
  template: GoTemplate,
  faultOf: (text: string) => string | undefined,
): string | undefined {
  const text = shape(template);
  // What begins with a value has any beginning.
  if (faultOf === spiffeIdFault && !text.startsWith('spiffe://')) return undefined;
  const fault = faultOf(text);
  return fault && `no pod gets it: with x for each value it is ${shown(text)}, and ${fault}`;
}

/** The text with a letter for each value, which is one valid part of an ID, of a name and of a selector. */
function shape({ parts }: GoTemplate): string {
  return parts.map((part) => (part.kind === 'text' ? part.value : 'x')).join('');
}

const SETTINGS = {
  ClusterName: { of: 'clusterName', setting: 'policy.kubernetes.cluster_name' },
  ClusterDomain: { of: 'clusterDomain', setting: 'policy.kubernetes.cluster_domain' },
} as const;

/** A field that has no value, as the configuration does not say it. */
function unset({ parts }: GoTemplate, names: ClusterNames): string | undefined {
  const field = parts.flatMap((part) => [...fieldsNeeded(part)]).find((one) => isUnset(one, names));
  const known = field === undefined ? undefined : SETTINGS[field];
  return known && `no pod gets it: .${field} has no value while ${known.setting} is not set`;
}

type Name = keyof typeof SETTINGS;

const isUnset = (field: Name, names: ClusterNames) => names[SETTINGS[field].of] === '';

/** Those without which it has no value: another one stands in for what `default` is given. */
function* fieldsNeeded(part: Expression): Generator<Name> {
  if (part.kind === 'field' && isName(part.name)) yield part.name;
  if (part.kind === 'member') yield* fieldsNeeded(part.key);
  if (part.kind !== 'call') return;
  const needed = part.name === 'default' ? [] : part.args;
  for (const arg of needed) yield* fieldsNeeded(arg);
}

const isName = (name: string): name is Name => Object.hasOwn(SETTINGS, name);
