import { formatDuration, parseDuration } from './core/duration.ts';
import { trustDomainFault } from './identity/spiffe-id.ts';
import { SVID_TTL_MS } from './identity/svid.ts';

/** The kinds of values a setting can have; `parse` turns a plain value into ours or complains. */
export interface Format {
  /** What is expected, to end the sentence «expected …». */
  readonly expected: string;
  /** Undefined when the value does not fit. Text comes from YAML or from the environment. */
  readonly parse: (value: unknown) => unknown;
}

/** One setting: its place in the file, its default as one would write it, and what it means. */
export interface Setting {
  readonly key: string;
  readonly format: Format;
  /** Undefined: there is no default. */
  readonly fallback: unknown;
  readonly doc: string;
}

const text: Format = {
  expected: 'a text',
  parse: (value) => (typeof value === 'string' && value !== '' ? value : undefined),
};

const optionalText: Format = {
  expected: 'a text, which may be empty',
  parse: (value) => (typeof value === 'string' ? value : undefined),
};

const texts: Format = {
  expected: 'a list of texts',
  parse(value) {
    const list: unknown = typeof value === 'string' ? value.split(',').filter(Boolean) : value;
    const fits = Array.isArray(list) && list.every((item) => typeof item === 'string' && item);
    return fits ? list : undefined;
  },
};

const flag: Format = {
  expected: 'true or false',
  parse: (value) =>
    value === true || value === 'true'
      ? true
      : value === false || value === 'false'
        ? false
        : undefined,
};

const trustDomain: Format = {
  expected: 'a trust domain name: a-z, 0-9, dot, dash and underscore, without spiffe://',
  parse: (value) =>
    typeof value === 'string' && trustDomainFault(value) === undefined ? value : undefined,
};

function duration(minMs: number, maxMs: number): Format {
  const atLeast = minMs > 0 ? `at least ${formatDuration(minMs)} and ` : '';
  const range = `${atLeast}at most ${formatDuration(maxMs)}`;
  return {
    expected: `a duration such as 250ms, 30s, 10m, 1h or 7d, ${range}`,
    parse(value) {
      const ms = typeof value === 'string' ? parseDuration(value) : undefined;
      return ms !== undefined && ms >= minMs && ms <= maxMs ? ms : undefined;
    },
  };
}

function number(min: number, max: number, whole: boolean): Format {
  return {
    expected: `a ${whole ? 'whole ' : ''}number from ${min} to ${max}`,
    parse(value) {
      const read = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
      const fits =
        typeof read === 'number' &&
        read >= min &&
        read <= max &&
        (!whole || Number.isInteger(read));
      return fits ? read : undefined;
    },
  };
}

function oneOf(...words: readonly string[]): Format {
  return {
    expected: `one of ${words.join(', ')}`,
    parse: (value) => (typeof value === 'string' && words.includes(value) ? value : undefined),
  };
}

const DAY_MS = 86_400_000;
const svidTtl = duration(SVID_TTL_MS.min, SVID_TTL_MS.max);
const caTtl = duration(20_000, 3650 * DAY_MS);
const wait = duration(0, DAY_MS);
const keyType = oneOf('ec-p256', 'ec-p384', 'rsa-2048', 'rsa-3072', 'rsa-4096');

const setting = (key: string, format: Format, fallback: unknown, doc: string): Setting => ({
  key,
  format,
  fallback,
  doc,
});

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
    'namespaces whose pods get nothing of a ClusterSPIFFEID',
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
  setting('attestation.unix.enabled', flag, true, 'selectors of the Unix user and groups'),
  setting(
    'attestation.unix.discover_path',
    flag,
    false,
    'adds unix:path and unix:sha256 of the executable',
  ),
  setting(
    'attestation.kubernetes.enabled',
    flag,
    false,
    'k8s selectors of processes in pods, which get nothing while their pod is not known',
  ),
  setting(
    'attestation.kubernetes.node_name',
    text,
    undefined,
    'spec.nodeName of the pods on this node; required when enabled',
  ),
  setting(
    'attestation.kubernetes.source',
    oneOf('api', 'kubelet'),
    'api',
    'who tells of the pods: the API server, or the kubelet of this node',
  ),
  setting(
    'attestation.kubernetes.api_server',
    text,
    undefined,
    'host:port of the API server; that of the environment by default, as a pod has it',
  ),
  setting(
    'attestation.kubernetes.ca_file',
    text,
    '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
    'what the API server is verified with',
  ),
  setting(
    'attestation.kubernetes.token_file',
    text,
    '/var/run/secrets/kubernetes.io/serviceaccount/token',
    'bearer token for it; may list and watch pods',
  ),
  setting(
    'attestation.kubernetes.kubelet_address',
    text,
    undefined,
    'host:port of the kubelet; 127.0.0.1:10250, or 10255 for its read-only port, by default',
  ),
  setting(
    'attestation.kubernetes.kubelet_ca_file',
    text,
    undefined,
    'what the kubelet is verified with, as a node of this name; ca_file by default',
  ),
  setting(
    'attestation.kubernetes.kubelet_access',
    oneOf('verified', 'insecure_skip_verify', 'insecure_read_only_port'),
    'verified',
    'the insecure ones believe whoever listens at that address; the first of them shows it the token',
  ),
  setting(
    'attestation.kubernetes.kubelet_poll_interval',
    duration(1000, 300_000),
    '5s',
    'how often the kubelet is asked while nobody waits for a pod',
  ),
  setting(
    'attestation.kubernetes.ephemeral_containers',
    flag,
    false,
    'whether containers that are added to a running pod (kubectl debug) have its identities',
  ),
  setting(
    'attestation.kubernetes.cgroup_roots',
    texts,
    [],
    "values of the kubelet's --cgroup-root, as kubelet in kind",
  ),
  setting(
    'attestation.kubernetes.cgroup_prefix',
    optionalText,
    '',
    "what stands before the pods' cgroups on this node; found by itself where credence is a pod",
  ),
  setting(
    'attestation.kubernetes.runtime_units',
    texts,
    ['containerd.service', 'crio.service', 'k3s.service', 'k3s-agent.service'],
    'units of system.slice under which a runtime may put containers of pods',
  ),
  setting(
    'attestation.docker.enabled',
    flag,
    false,
    'docker selectors of processes in containers of docker and podman',
  ),
  setting(
    'attestation.docker.socket_path',
    optionalText,
    '/var/run/docker.sock',
    'where docker listens; empty: processes in its containers are refused',
  ),
  setting(
    'attestation.docker.podman_socket_path',
    optionalText,
    '/run/podman/podman.sock',
    "where the machine's podman listens; likewise",
  ),
  setting(
    'attestation.docker.podman_socket_path_template',
    optionalText,
    '',
    "where a user's own podman listens, as /run/user/%d/podman/podman.sock; not asked by default: what it says is that user's word",
  ),
  setting(
    'attestation.docker.cgroup_parents',
    texts,
    [],
    'cgroups that an engine was told to put containers under (--cgroup-parent), as /shop.slice',
  ),
  setting(
    'attestation.systemd.enabled',
    flag,
    false,
    'systemd selectors: the unit of a process, and the file that is from',
  ),
  setting(
    'attestation.systemd.bus_path',
    text,
    '/run/dbus/system_bus_socket',
    'socket of the system bus, where systemd is asked',
  ),
  setting('issuer.x509_svid_ttl', svidTtl, '1h', 'lifetime of an X.509-SVID'),
  setting('issuer.ca_ttl', caTtl, '24h', 'lifetime of the signing CA'),
  setting('issuer.root_ttl', caTtl, '8760h', 'lifetime of a self-signed root'),
  setting('issuer.key_type', keyType, 'ec-p256', 'key type of SVIDs'),
  setting('issuer.ca_key_type', keyType, 'ec-p256', 'key type of the root and the signing CA'),
  setting(
    'issuer.key_manager.type',
    oneOf('disk', 'memory'),
    'disk',
    'where CA keys are kept; memory starts a new trust domain at each start',
  ),
  setting(
    'issuer.upstream.type',
    oneOf('self_signed', 'disk'),
    'self_signed',
    'where the signing CA comes from: made here below a root of its own, or from files',
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
    'disk: how long a new root is trusted before anything is signed under it; as long as other nodes take to see it',
  ),
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
];

/** Name of the environment variable that wins over the file. */
export function environmentName(key: string): string {
  return `CREDENCE_${key.toUpperCase().replaceAll('.', '_')}`;
}
