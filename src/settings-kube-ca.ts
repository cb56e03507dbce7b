import { duration, setting, text, type Setting } from './setting-formats.ts';

const POD = '/var/run/secrets/kubernetes.io/serviceaccount';
const timeout = duration(1000, 600_000);

/** What both have: how the API server is asked, and where the roots are. */
const common = (type: 'kubernetes_csr' | 'cert_manager', roots: string): readonly Setting[] => [
  setting(
    `issuer.upstream.${type}.timeout`,
    timeout,
    '1m',
    `${type}: how long a request may take to be approved and signed; then it is tried again`,
  ),
  setting(
    `issuer.upstream.${type}.api_server`,
    text,
    undefined,
    `${type}: host:port of the API server; that of the environment by default, as a pod has it`,
  ),
  setting(
    `issuer.upstream.${type}.ca_file`,
    text,
    `${POD}/ca.crt`,
    `${type}: what the API server is verified with`,
  ),
  setting(
    `issuer.upstream.${type}.token_file`,
    text,
    `${POD}/token`,
    `${type}: bearer token for it; may create and watch requests`,
  ),
  setting(
    `issuer.upstream.${type}.roots.config_map`,
    text,
    undefined,
    `${type}: namespace/name of a ConfigMap with the roots in ca.crt; ${roots}`,
  ),
  setting(
    `issuer.upstream.${type}.roots.cluster_trust_bundle`,
    text,
    undefined,
    `${type}: name of a ClusterTrustBundle with the roots`,
  ),
  setting(
    `issuer.upstream.${type}.roots.file`,
    text,
    undefined,
    `${type}: file with the roots, read again when it changes`,
  ),
];

/** Authorities that are asked through a cluster. */
export const KUBE_CA_SETTINGS: readonly Setting[] = [
  setting(
    'issuer.upstream.kubernetes_csr.signer_name',
    text,
    'credence.io/node-ca',
    'kubernetes_csr: signer that CertificateSigningRequests name',
  ),
  ...common('kubernetes_csr', 'one of the three is required'),
  setting(
    'issuer.upstream.cert_manager.namespace',
    text,
    'credence',
    'cert_manager: namespace of the CertificateRequests, and of the Issuer',
  ),
  setting(
    'issuer.upstream.cert_manager.issuer_name',
    text,
    undefined,
    'cert_manager: name of the issuer; required',
  ),
  setting(
    'issuer.upstream.cert_manager.issuer_kind',
    text,
    'Issuer',
    'cert_manager: kind of the issuer; ClusterIssuer, or that of another group',
  ),
  setting(
    'issuer.upstream.cert_manager.issuer_group',
    text,
    'cert-manager.io',
    'cert_manager: API group of the issuer',
  ),
  ...common('cert_manager', 'by default those that come with the certificate (status.ca)'),
];
