import type { KeyName } from './ca-state.ts';
import { certificate, Fault, keyName, list, type Fields } from './journal-fields.ts';
import type { UpstreamCertificate } from './upstream-certificates.ts';

interface Authority1 {
  readonly role: 'root' | 'issuing';
  readonly key: KeyName;
  readonly certificate: UpstreamCertificate;
}

/** What the first version of the journal knows: a root of its own and one CA below it, both in use. */
export function parseAuthorities1(document: Fields): {
  readonly root: Authority1 | undefined;
  readonly issuing: Authority1 | undefined;
} {
  const all = list(document, 'authorities', 16, parseAuthority);
  const of = (role: Authority1['role']) => all.filter((one) => one.role === role);
  const [roots, cas] = [of('root'), of('issuing')];
  if (roots.length > 1 || cas.length > 1) throw new Fault('a role appears twice');
  if (cas.length > roots.length) throw new Fault('the root is missing');
  return { root: roots[0], issuing: cas[0] };
}

function parseAuthority(fields: Fields): Authority1 {
  const { role, state } = fields;
  if (role !== 'root' && role !== 'issuing') throw new Fault('role is unknown');
  if (state !== 'active') throw new Fault('state is unknown');
  return {
    role,
    key: keyName(fields),
    certificate: certificate(fields['certificate'], 'certificate'),
  };
}
