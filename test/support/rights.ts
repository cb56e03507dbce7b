import type { Cluster } from './real-cluster.ts';

/** One verb on one resource, as a rule of a role grants it. */
export interface Right {
  readonly role: Role;
  readonly resource: string;
  readonly verb: string;
}

export interface Role {
  readonly kind: 'clusterrole' | 'role';
  readonly name: string;
}

interface Rule {
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

/** As in `pods: list`. */
export const nameOf = ({ resource, verb }: Right) => `${resource}: ${verb}`;

const NAMESPACE = ['-n', 'credence'];

const rulesOf = (cluster: Cluster, { kind, name }: Role) =>
  (JSON.parse(cluster.kubectl([...NAMESPACE, 'get', kind, name, '-o=json'])) as { rules: Rule[] })
    .rules;

/** All that a role grants. */
export function rightsOf(cluster: Cluster, role: Role): Right[] {
  return rulesOf(cluster, role).flatMap(({ resources, verbs }) =>
    resources.flatMap((resource) => verbs.map((verb) => ({ role, resource, verb }))),
  );
}

/** Takes this one right away, and no other; returns how to give it back. */
export function takeAway(cluster: Cluster, { role, resource, verb }: Right): () => void {
  const rules = rulesOf(cluster, role);
  const write = (some: readonly Rule[]) => {
    const patch = ['--type=merge', '-p', JSON.stringify({ rules: some })];
    cluster.kubectl([...NAMESPACE, 'patch', role.kind, role.name, ...patch]);
  };
  const rest = rules.flatMap((rule) => {
    if (!rule.resources.includes(resource) || !rule.verbs.includes(verb)) return [rule];
    const others = rule.resources.filter((one) => one !== resource);
    const verbs = rule.verbs.filter((one) => one !== verb);
    return [
      ...(others.length > 0 ? [{ ...rule, resources: others }] : []),
      ...(verbs.length > 0 ? [{ ...rule, resources: [resource], verbs }] : []),
    ];
  });
  write(rest);
  return () => write(rules);
}
