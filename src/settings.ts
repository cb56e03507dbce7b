import { SVID_TTL_MS } from './identity/svid.ts';
import {
  duration,
  flag,
  number,
  oneOf,
  optionalText,
  setting,
  text,
  texts,
  trustDomain,
  type Setting,
} from './setting-formats.ts';
import { ATTESTATION_SETTINGS } from './settings-attestation.ts';
import { PKCS11_SETTINGS } from './settings-token.ts';
import { KUBE_CA_SETTINGS } from './settings-kube-ca.ts';
import { SIGNER_SETTINGS } from './settings-signer.ts';
import { UPSTREAM_SETTINGS } from './settings-upstream.ts';

const DAY_MS = 86_400_000;
const svidTtl = duration(SVID_TTL_MS.min, SVID_TTL_MS.max);
const caTtl = duration(20_000, 3650 * DAY_MS);
const wait = duration(0, DAY_MS);
const keyType = oneOf('ec-p256', 'ec-p384', 'rsa-2048', 'rsa-3072', 'rsa-4096');

/** Where `socket_path` and `admin_socket_path` are when nothing says otherwise. */
export const DEFAULT_SOCKET_PATH = '/run/credence/api.sock';
export const DEFAULT_ADMIN_SOCKET_PATH = '/run/credence/private/admin.sock';

/** Every setting there is; `credence config` prints this table. */
export const SETTINGS: readonly Setting[] = [
  setting('trust_domain', trustDomain, undefined, 'name of the trust domain; required'),
  setting(
    'node_name',
    text,
    undefined,
    'name of this node in control_plane.identifier; the host name by default',
  ),
  setting(
    'socket_path',
    text,
    DEFAULT_SOCKET_PATH,
    'public socket: SDS for every process on the node, mode 0777',
  ),
  setting('extra_socket_paths', texts, [], 'further paths for the same service'),
  setting('admin_socket_path', text, DEFAULT_ADMIN_SOCKET_PATH, 'HTTP for the operator, mode 0600'),
  setting('data_dir', text, '/var/lib/credence', 'CA keys and journal, mode 0700'),
  setting(
    'policy.paths',
    texts,
    [],
    'files or folders of policy documents, reloaded when they change',
  ),
  setting(
    'policy.kubernetes.enabled',
    flag,
    false,
    'follows ClusterSPIFFEID, ClusterStaticEntry and ClusterFederatedTrustDomain in the cluster',
  ),
  setting(
    'policy.kubernetes.class_name',
    optionalText,
    '',
    'className of the manifests that count, from files too; empty: those that have none',
  ),
  setting(
    'policy.kubernetes.watch_classless',
    flag,
    false,
    'whether manifests without className count beside those of class_name',
  ),
  setting('policy.kubernetes.cluster_name', optionalText, '', 'what .ClusterName is in templates'),
  setting(
    'policy.kubernetes.cluster_domain',
    optionalText,
    'cluster.local',
    'what .ClusterDomain is in templates',
  ),
  setting(
    'policy.kubernetes.ignore_namespaces',
    texts,
    ['kube-system', 'kube-public', 'spire-system'],
    'namespaces whose pods get nothing of a ClusterSPIFFEID; * in a name stands for any text',
  ),
  setting(
    'policy.kubernetes.parent_ids',
    texts,
    [],
    'parentIDs of followed ClusterStaticEntries that mean this node too, beside its own; *: any',
  ),
  setting(
    'policy.kubernetes.write_status',
    flag,
    false,
    'whether one node, chosen by a lease, writes what matched into the status of the manifests',
  ),
  setting(
    'policy.kubernetes.status_lease',
    text,
    'credence/credence-status',
    'namespace/name of that lease',
  ),
  ...ATTESTATION_SETTINGS,
  setting(
    'federation.bundles_dir',
    text,
    undefined,
    'folder of bundles of other trust domains, TD.pem or TD.json (SPIFFE bundle), followed',
  ),
  setting('issuer.x509_svid_ttl', svidTtl, '1h', 'lifetime of an X.509-SVID'),
  setting('issuer.ca_ttl', caTtl, '24h', 'lifetime of the signing CA'),
  setting('issuer.root_ttl', caTtl, '8760h', 'lifetime of a self-signed root'),
  setting(
    'issuer.crl_ttl',
    duration(60_000, 30 * DAY_MS),
    '24h',
    'lifetime of a CRL, once anything is revoked; it is replaced half-way',
  ),
  setting('issuer.key_type', keyType, 'ec-p256', 'key type of SVIDs'),
  setting('issuer.ca_key_type', keyType, 'ec-p256', 'key type of the root and the signing CA'),
  setting(
    'issuer.name_constraint',
    flag,
    false,
    'whether signing CAs made here carry the trust domain as their name constraint; some validators refuse such CAs',
  ),
  setting(
    'issuer.ca_rotation.prepare_left',
    number(0.01, 0.99, false),
    0.5,
    'share of its life that an authority has left when the next one is made and published',
  ),
  setting(
    'issuer.ca_rotation.activate_left',
    number(0.01, 0.99, false),
    0.1667,
    'share of its life that it has left when the next one takes over',
  ),
  setting(
    'issuer.ca_rotation.jitter',
    number(0, 0.5, false),
    0.1,
    '± share of both points, drawn once for each authority',
  ),
  setting(
    'issuer.ca_rotation.ack_timeout',
    wait,
    '5m',
    'how long the next one waits, once it is due, for proxies that have not acknowledged the bundle; at most half of the time left',
  ),
  setting(
    'issuer.key_manager.type',
    oneOf('disk', 'memory', 'pkcs11'),
    'disk',
    'where CA keys are kept; memory starts a new trust domain at each start, pkcs11 is a token',
  ),
  ...PKCS11_SETTINGS,
  setting(
    'issuer.upstream.type',
    oneOf('self_signed', 'disk', 'vault', 'kubernetes_csr', 'cert_manager'),
    'self_signed',
    'where the signing CA comes from: made here below a root of its own, from files, or made here and signed by Vault or through a cluster',
  ),
  setting(
    'issuer.upstream.cert_file',
    text,
    undefined,
    'disk: PEM of the signing CA, then of the CAs between it and its root',
  ),
  setting(
    'issuer.upstream.key_file',
    text,
    undefined,
    'disk: PEM of its key, of root or this user, mode 0440 or less',
  ),
  setting(
    'issuer.upstream.bundle_file',
    text,
    undefined,
    'disk: PEM of the roots that are trusted, that of the signing CA among them',
  ),
  setting(
    'issuer.upstream.new_root_delay',
    wait,
    '2m',
    'how long a new root that other nodes share is trusted before anything is signed under it; as long as they take to see it',
  ),
  ...UPSTREAM_SETTINGS,
  ...KUBE_CA_SETTINGS,
  setting(
    'rotation.fraction',
    number(0.05, 0.95, false),
    0.5,
    'share of the lifetime after which an SVID is renewed',
  ),
  setting(
    'rotation.jitter',
    number(0, 0.5, false),
    0.1,
    '± share of that point, drawn once per certificate',
  ),
  setting('sds.default_svid_name', text, 'default', "name of the caller's first identity"),
  setting('sds.default_bundle_name', text, 'ROOTCA', 'name of the bundle of the own trust domain'),
  setting('sds.default_all_bundles_name', text, 'ALL', 'name of the own and all federated bundles'),
  setting(
    'sds.spiffe_cert_validation',
    flag,
    true,
    "bundles in the form of Envoy's SPIFFE validator; node metadata disable_spiffe_cert_validation overrides it per proxy",
  ),
  setting(
    'sds.pending_timeout',
    wait,
    '5s',
    'how long a name may wait for attestation or a first SVID before the stream ends',
  ),
  setting(
    'sds.denied_park',
    wait,
    '30s',
    'how long a name that was refused before is held open, waiting for an entry; 0s refuses at once',
  ),
  setting(
    'limits.connections_per_uid',
    number(1, 1_000_000, true),
    10_000,
    'open connections of one Unix user',
  ),
  setting(
    'limits.connections_per_pid',
    number(1, 1_000_000, true),
    5000,
    'open connections of one process',
  ),
  setting(
    'limits.connects_per_second_per_uid',
    number(1, 1_000_000, true),
    2000,
    'new connections of one Unix user; five times as many at once, further ones are closed at accept',
  ),
  setting(
    'limits.connects_per_second_per_pid',
    number(1, 1_000_000, true),
    1000,
    'new connections of one process; twice as many at once, further ones are closed at accept',
  ),
  setting(
    'limits.streams',
    number(2, 1_000_000, true),
    40_000,
    'open streams in all; one Unix user may have as many as it leaves to the others',
  ),
  setting(
    'limits.names',
    number(2, 10_000_000, true),
    100_000,
    'resource names that all streams watch; one Unix user may have as many as it leaves to the others',
  ),
  setting(
    'limits.requests_per_second',
    number(1, 1_000_000, true),
    5000,
    'new streams and requests of one process, answers to a push not counted; twice as many at once',
  ),
  setting(
    'limits.streams_per_connection',
    number(1, 1_000_000, true),
    1024,
    'concurrent streams on one connection, which the peer is told: Envoy opens another connection for more; whoever goes on is refused the stream, or once it has acknowledged the limit the connection',
  ),
  setting(
    'limits.names_per_stream',
    number(1, 100_000, true),
    2000,
    'resource names that one stream asks for; what it is given for * does not count',
  ),
  setting(
    'limits.message_bytes',
    number(65_536, 16_777_216, true),
    1_048_576,
    'size of one request; a real Envoy sends about 61 kB',
  ),
  ...SIGNER_SETTINGS,
  setting('drain_deadline', wait, '5s', 'how long open streams may take to end at shutdown'),
  setting(
    'telemetry.log_level',
    oneOf('debug', 'info', 'warn', 'error'),
    'info',
    'least severe lines that are written',
  ),
  setting(
    'telemetry.log_format',
    oneOf('json', 'pretty'),
    undefined,
    'json lines or text for people; when unset, pretty on a terminal and json elsewhere',
  ),
  setting(
    'telemetry.metrics_address',
    optionalText,
    '127.0.0.1:9464',
    'host:port of Prometheus text at /metrics; empty switches it off',
  ),
  setting(
    'telemetry.audit_log_path',
    text,
    undefined,
    'file of one JSON record per signature and per refusal, each with the hash of the one before; - for the log; none by default',
  ),
];

/** Name of the environment variable that wins over the file. */
export function environmentName(key: string): string {
  return `CREDENCE_${key.toUpperCase().replaceAll('.', '_')}`;
}
