import type { UpstreamAuthority } from '../issuer/upstream-authority.ts';
import { record } from '../kubernetes/fields.ts';
import { createKubeAuthority, type KubeCaDeps, type KubeCaTerms } from './authority.ts';
import type { Collection } from './collection.ts';
import { certificatesOf } from './issued.ts';
import type { Inquiry } from './inquiry.ts';
import { CA_USAGES } from './kubernetes-csr.ts';
import { NODE_ANNOTATION, nodeLabel } from './request.ts';
import { judgeCertificateRequest } from './verdict.ts';

export interface CertManagerTerms extends KubeCaTerms {
  readonly namespace: string;
  readonly issuer: { readonly name: string; readonly kind: string; readonly group: string };
}

const NODE_LABEL = 'credence.io/node';
const PREFIX = 'credence-';

/**
 * Asks by a `CertificateRequest` (cert-manager.io/v1). Nobody else cleans these up: those of earlier
 * CAs of this node go when the next is asked for.
 */
export function createCertManager(terms: CertManagerTerms, deps: KubeCaDeps): UpstreamAuthority {
  const { namespace, issuer } = terms;
  const { name: issuerName, kind, group } = issuer;
  const resource = 'certificaterequests';
  const node = nodeLabel(terms);
  return createKubeAuthority(
    terms,
    {
      name: `cert_manager ${kind} ${issuerName} in ${namespace}`,
      path: `/apis/cert-manager.io/v1/namespaces/${namespace}/${resource}`,
      rule: (verbs) =>
        `{apiGroups: [cert-manager.io], resources: [${resource}], verbs: [${verbs.join(', ')}]} in a Role of namespace ${namespace}`,
      body: ({ text }, name, ttlMs) => ({
        apiVersion: 'cert-manager.io/v1',
        kind: 'CertificateRequest',
        metadata: {
          ...{ name, namespace },
          labels: { 'app.kubernetes.io/managed-by': 'credence', [NODE_LABEL]: node },
          annotations: { [NODE_ANNOTATION]: terms.nodeName },
        },
        spec: {
          request: text,
          duration: `${Math.round(ttlMs / 1000)}s`,
          isCA: true,
          usages: CA_USAGES,
          issuerRef: issuer,
        },
      }),
      isSame(request, object) {
        const spec = record(object['spec']);
        const given = record(spec['issuerRef']);
        const isOfIssuer =
          given['name'] === issuerName && given['kind'] === kind && given['group'] === group;
        return isOfIssuer && request.isSame(spec['request']);
      },
      judge: judgeCertificateRequest,
      rootsOf: (ca) => (ca === '' ? [] : certificatesOf(ca, 'status.ca of the request')),
      tidy: (isKept, collection, inquiry) => tidy(isKept, collection, inquiry, node),
    },
    deps,
  );
}

async function tidy(
  isKept: (name: string) => boolean,
  collection: Collection,
  { signal }: Inquiry,
  node: string,
): Promise<void> {
  const ours = await collection.labelled(`${NODE_LABEL}=${node}`, { signal });
  // By prefix as well: a label alone is quickly put on something else.
  for (const name of ours) {
    if (name.startsWith(PREFIX) && !isKept(name)) await collection.remove(name, { signal });
  }
}
