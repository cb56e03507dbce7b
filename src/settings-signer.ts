import {
  duration,
  flag,
  oneOf,
  optionalText,
  setting,
  text,
  type Setting,
} from './setting-formats.ts';

const DAY_MS = 86_400_000;
/** The API server lets nobody ask for less than ten minutes. */
const ttl = duration(600_000, 365 * DAY_MS);
const wait = duration(0, DAY_MS);

/** Those of `credence signer`; a daemon has no use for them. */
export const SIGNER_SETTINGS: readonly Setting[] = [
  setting('signer.name', text, 'credence.io/node-ca', 'signer name whose requests are answered'),
  setting(
    'signer.service_account',
    text,
    'credence/credence',
    'namespace/name of the service account of the daemons, the only one that is signed for',
  ),
  setting(
    'signer.ca_ttl',
    ttl,
    '24h',
    "longest lifetime of a node's CA, and that of who asks for none",
  ),
  setting('signer.min_ca_ttl', ttl, '10m', "shortest lifetime of a node's CA"),
  setting(
    'signer.secret',
    text,
    'credence/credence-signer',
    'namespace/name of the Secret that all replicas share: roots, and nodes that were cut off',
  ),
  setting(
    'signer.keys',
    oneOf('secret', 'key_manager'),
    'secret',
    'where the keys of roots are: in that Secret, or where issuer.key_manager.type says',
  ),
  setting(
    'signer.key_record',
    text,
    'credence/credence-signer-keys',
    'namespace/name of the ConfigMap with the keys of all CAs that live: none is signed for twice',
  ),
  setting(
    'signer.roots.config_map',
    text,
    'credence/credence-roots',
    'namespace/name of the ConfigMap in which nodes find the roots, as ca.crt',
  ),
  setting(
    'signer.roots.cluster_trust_bundle',
    optionalText,
    '',
    'name of a ClusterTrustBundle with the same, credence.io:node-ca:roots; empty: none',
  ),
  setting(
    'signer.roots.extra_roots_file',
    text,
    undefined,
    'PEM of further roots that are told of: those of the CA that nodes come from',
  ),
  setting(
    'signer.new_root_delay',
    wait,
    '2m',
    'how long a new root is told of before anything is signed with it; as long as nodes take to see it',
  ),
  setting(
    'signer.revocation_delay',
    wait,
    undefined,
    'the same after a node was cut off, and how long all others then have until the root before is no longer trusted; new_root_delay by default',
  ),
  setting(
    'signer.verify_pods',
    flag,
    true,
    'whether the pod that asks has to be there still, on its node',
  ),
  setting(
    'signer.api_server',
    text,
    undefined,
    'host:port of the API server; that of the environment by default, as a pod has it',
  ),
  setting(
    'signer.ca_file',
    text,
    '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
    'what the API server is verified with',
  ),
  setting(
    'signer.token_file',
    text,
    '/var/run/secrets/kubernetes.io/serviceaccount/token',
    'bearer token for it',
  ),
];
