import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { environmentName, SETTINGS } from './settings.ts';

/** The defaults that users' files rely on; a change here is a change of the interface. */
const DEFAULTS: Readonly<Record<string, unknown>> = {
  trust_domain: undefined,
  node_name: undefined,
  socket_path: '/run/credence/api.sock',
  extra_socket_paths: [],
  admin_socket_path: '/run/credence/private/admin.sock',
  data_dir: '/var/lib/credence',
  'policy.paths': [],
  'policy.kubernetes.enabled': false,
  'policy.kubernetes.class_name': '',
  'policy.kubernetes.watch_classless': false,
  'policy.kubernetes.cluster_name': '',
  'policy.kubernetes.cluster_domain': 'cluster.local',
  'policy.kubernetes.ignore_namespaces': ['kube-system', 'kube-public', 'spire-system'],
  'policy.kubernetes.parent_ids': [],
  'policy.kubernetes.write_status': false,
  'policy.kubernetes.status_lease': 'credence/credence-status',
  'attestation.unix.enabled': true,
  'attestation.unix.discover_path': false,
  'attestation.kubernetes.enabled': false,
  'attestation.kubernetes.node_name': undefined,
  'attestation.kubernetes.source': 'api',
  'attestation.kubernetes.api_server': undefined,
  'attestation.kubernetes.ca_file': '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
  'attestation.kubernetes.token_file': '/var/run/secrets/kubernetes.io/serviceaccount/token',
  'attestation.kubernetes.kubelet_address': undefined,
  'attestation.kubernetes.kubelet_ca_file': undefined,
  'attestation.kubernetes.kubelet_access': 'verified',
  'attestation.kubernetes.kubelet_poll_interval': '5s',
  'attestation.kubernetes.ephemeral_containers': false,
  'attestation.kubernetes.container_selectors': true,
  'attestation.kubernetes.namespace_labels': false,
  'attestation.kubernetes.cgroup_roots': [],
  'attestation.kubernetes.cgroup_prefix': '',
  'attestation.kubernetes.runtime_units': [
    'containerd.service',
    'crio.service',
    'k3s.service',
    'k3s-agent.service',
  ],
  'attestation.docker.enabled': false,
  'attestation.docker.socket_path': '/var/run/docker.sock',
  'attestation.docker.podman_socket_path': '/run/podman/podman.sock',
  'attestation.docker.podman_socket_path_template': '',
  'attestation.docker.cgroup_parents': [],
  'attestation.systemd.enabled': false,
  'attestation.systemd.bus_path': '/run/dbus/system_bus_socket',
  'federation.bundles_dir': undefined,
  'issuer.x509_svid_ttl': '1h',
  'issuer.ca_ttl': '24h',
  'issuer.root_ttl': '8760h',
  'issuer.key_type': 'ec-p256',
  'issuer.ca_key_type': 'ec-p256',
  'issuer.name_constraint': false,
  'issuer.ca_rotation.prepare_left': 0.5,
  'issuer.ca_rotation.activate_left': 0.1667,
  'issuer.ca_rotation.jitter': 0.1,
  'issuer.ca_rotation.ack_timeout': '5m',
  'issuer.key_manager.type': 'disk',
  'issuer.upstream.type': 'self_signed',
  'issuer.upstream.cert_file': undefined,
  'issuer.upstream.key_file': undefined,
  'issuer.upstream.bundle_file': undefined,
  'issuer.upstream.new_root_delay': '2m',
  'issuer.upstream.vault.address': undefined,
  'issuer.upstream.vault.namespace': '',
  'issuer.upstream.vault.ca_file': undefined,
  'issuer.upstream.vault.server_name': undefined,
  'issuer.upstream.vault.redirect_hosts': [],
  'issuer.upstream.vault.pki_mount': 'pki',
  'issuer.upstream.vault.issuer_ref': undefined,
  'issuer.upstream.vault.root_file': undefined,
  'issuer.upstream.vault.auth.type': undefined,
  'issuer.upstream.vault.auth.mount': undefined,
  'issuer.upstream.vault.auth.token_file': undefined,
  'issuer.upstream.vault.auth.role_id': undefined,
  'issuer.upstream.vault.auth.secret_id_file': undefined,
  'issuer.upstream.vault.auth.role': undefined,
  'issuer.upstream.vault.auth.jwt_file': undefined,
  'issuer.upstream.vault.auth.cert_file': undefined,
  'issuer.upstream.vault.auth.key_file': undefined,
  'rotation.fraction': 0.5,
  'rotation.jitter': 0.1,
  'sds.default_svid_name': 'default',
  'sds.default_bundle_name': 'ROOTCA',
  'sds.default_all_bundles_name': 'ALL',
  'sds.spiffe_cert_validation': true,
  'sds.pending_timeout': '5s',
  'sds.denied_park': '30s',
  'limits.connections_per_uid': 10_000,
  'limits.connections_per_pid': 5000,
  'limits.connects_per_second_per_uid': 2000,
  'limits.connects_per_second_per_pid': 1000,
  'limits.streams': 40_000,
  'limits.names': 100_000,
  'limits.requests_per_second': 5000,
  'limits.streams_per_connection': 1024,
  'limits.names_per_stream': 2000,
  'limits.message_bytes': 1_048_576,
  'signer.name': 'credence.io/node-ca',
  'signer.service_account': 'credence/credence',
  'signer.ca_ttl': '24h',
  'signer.min_ca_ttl': '10m',
  'signer.secret': 'credence/credence-signer',
  'signer.keys': 'secret',
  'signer.key_record': 'credence/credence-signer-keys',
  'signer.roots.config_map': 'credence/credence-roots',
  'signer.roots.cluster_trust_bundle': '',
  'signer.roots.extra_roots_file': undefined,
  'signer.new_root_delay': '2m',
  'signer.revocation_delay': undefined,
  'signer.verify_pods': true,
  'signer.api_server': undefined,
  'signer.ca_file': '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
  'signer.token_file': '/var/run/secrets/kubernetes.io/serviceaccount/token',
  drain_deadline: '5s',
  'telemetry.log_level': 'info',
  'telemetry.log_format': undefined,
  'telemetry.metrics_address': '127.0.0.1:9464',
};

describe('SETTINGS', () => {
  it('keeps every key and every default', () => {
    assert.deepEqual(Object.fromEntries(SETTINGS.map((s) => [s.key, s.fallback])), DEFAULTS);
  });

  it('has only defaults that their own format accepts', () => {
    for (const { key, fallback, format } of SETTINGS) {
      if (fallback !== undefined) assert.notEqual(format.parse(fallback), undefined, key);
    }
  });

  it('gives each setting a variable and a key of its own', () => {
    assert.equal(environmentName('issuer.x509_svid_ttl'), 'CREDENCE_ISSUER_X509_SVID_TTL');
    assert.equal(new Set(SETTINGS.map((s) => environmentName(s.key))).size, SETTINGS.length);
    // A setting that is a section as well could be neither.
    for (const { key } of SETTINGS) {
      assert.ok(!SETTINGS.some((other) => other.key.startsWith(`${key}.`)), key);
    }
  });
});
