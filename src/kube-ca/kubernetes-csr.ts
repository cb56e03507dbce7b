import type { UpstreamAuthority } from '../issuer/upstream-authority.ts';
import { record } from '../kubernetes/fields.ts';
import { createKubeAuthority, type KubeCaDeps, type KubeCaTerms } from './authority.ts';
import { NODE_ANNOTATION } from './request.ts';
import { judgeSigningRequest } from './verdict.ts';

export interface KubernetesCsrTerms extends KubeCaTerms {
  /** `spec.signerName`: who is to sign. */
  readonly signerName: string;
  readonly roots: NonNullable<KubeCaTerms['roots']>;
}

/** The API takes no request for less; whoever signs is free to give less or more. */
export const MIN_EXPIRATION_MS = 600_000;
const MAX_EXPIRATION_S = 2 ** 31 - 1;
/** All that an issuing CA does (X5-22), as the API names it. */
export const CA_USAGES = ['cert sign', 'crl sign'] as const;

/**
 * Asks by a `CertificateSigningRequest` (certificates.k8s.io/v1) of the configured signer. Requests
 * are left to the API server's own cleaner, an hour after they were decided: the right to delete them
 * would be one to delete those of other nodes as well.
 */
export function createKubernetesCsr(
  terms: KubernetesCsrTerms,
  deps: KubeCaDeps,
): UpstreamAuthority {
  const { signerName } = terms;
  const resource = 'certificatesigningrequests';
  return createKubeAuthority(
    terms,
    {
      name: `kubernetes_csr ${signerName}`,
      path: `/apis/certificates.k8s.io/v1/${resource}`,
      rule: (verbs) =>
        `{apiGroups: [certificates.k8s.io], resources: [${resource}], verbs: [${verbs.join(', ')}]} in a ClusterRole`,
      body: ({ text }, name, ttlMs) => ({
        apiVersion: 'certificates.k8s.io/v1',
        kind: 'CertificateSigningRequest',
        metadata: {
          name,
          labels: { 'app.kubernetes.io/managed-by': 'credence' },
          annotations: { [NODE_ANNOTATION]: terms.nodeName },
        },
        spec: {
          request: text,
          signerName,
          usages: CA_USAGES,
          expirationSeconds: Math.min(
            Math.round(Math.max(ttlMs, MIN_EXPIRATION_MS) / 1000),
            MAX_EXPIRATION_S,
          ),
        },
      }),
      isSame(request, object) {
        const spec = record(object['spec']);
        return spec['signerName'] === signerName && request.isSame(spec['request']);
      },
      judge: judgeSigningRequest,
    },
    deps,
  );
}
