import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, resolve } from 'node:path';
import { checkCombinations } from './config-checks.ts';
import {
  buildRemote,
  buildUpstream,
  type RemoteConfig,
  type UpstreamConfig,
} from './config-upstream.ts';
import { buildClusterPolicy, type ClusterPolicyConfig } from './config-cluster-policy.ts';
import {
  buildDocker,
  buildSystemd,
  type DockerConfig,
  type SystemdConfig,
} from './config-engines.ts';
import { buildPkcs11 } from './config-token.ts';
import { buildKubernetes, type KubernetesConfig } from './config-kubernetes.ts';
import { buildSigner, type SignerConfig } from './config-signer.ts';
import { getter, parseAddress, type Get } from './config-values.ts';
import { errorText, IdentityError, systemCode, toIdentityError } from './core/errors.ts';
import type { LogLevel } from './core/log.ts';
import { MAX_YAML_BYTES, parseYaml } from './core/yaml.ts';
import { parseTrustDomain, type TrustDomain } from './identity/spiffe-id.ts';
import type { KeyType } from './issuer/key-type.ts';
import type { PolicySources } from './policy/load.ts';
import type { Pkcs11Config } from './pkcs11/config.ts';
import { readSettings, type Complain, type Environment, type Values } from './read-settings.ts';

/** The whole configuration: checked, paths absolute, durations in milliseconds. Never changes. */
export interface Config {
  readonly file: string;
  readonly trustDomain: TrustDomain;
  readonly nodeName: string;
  readonly socketPaths: readonly string[];
  readonly adminSocketPath: string;
  readonly dataDir: string;
  readonly policyPaths: readonly string[];
  readonly clusterPolicy: ClusterPolicyConfig;
  readonly attestation: {
    readonly unix: { enabled: boolean; discoverPath: boolean };
    /** Undefined: not enabled. */
    readonly kubernetes: KubernetesConfig | undefined;
    readonly docker: DockerConfig | undefined;
    readonly systemd: SystemdConfig | undefined;
  };
  readonly issuer: {
    readonly x509SvidTtlMs: number;
    readonly caTtlMs: number;
    readonly rootTtlMs: number;
    readonly crlTtlMs: number;
    readonly keyType: KeyType;
    readonly caKeyType: KeyType;
    readonly keyManager: 'disk' | 'memory' | 'pkcs11';
    /** Undefined: no token. */
    readonly pkcs11: Pkcs11Config | undefined;
    readonly caRotation: CaRotation;
    /** How long a root that other nodes may not know yet waits before it is signed under. */
    readonly newRootDelayMs: number;
    /** Whether CAs made here carry the trust domain as their name constraint. */
    readonly nameConstraint: boolean;
    /** Undefined: the issuing CA does not come from files. */
    readonly upstream: UpstreamConfig | undefined;
    /** Undefined: nobody else signs issuing CAs. */
    readonly remote: RemoteConfig | undefined;
  };
  /** Undefined: no folder of bundles of other trust domains. */
  readonly bundlesDir: string | undefined;
  readonly rotation: { readonly fraction: number; readonly jitter: number };
  readonly sds: {
    readonly aliases: { svid: string; bundle: string; allBundles: string };
    readonly spiffeCertValidation: boolean;
    readonly pendingTimeoutMs: number;
    readonly deniedParkMs: number;
  };
  readonly limits: {
    readonly connectionsPerUid: number;
    readonly connectionsPerPid: number;
    readonly connectsPerSecondPerUid: number;
    readonly connectsPerSecondPerPid: number;
    readonly streams: number;
    readonly names: number;
    readonly requestsPerSecond: number;
    readonly streamsPerConnection: number;
    readonly namesPerStream: number;
    readonly messageBytes: number;
  };
  /** Of use to `credence signer` alone. */
  readonly signer: SignerConfig;
  readonly drainDeadlineMs: number;
  readonly telemetry: {
    readonly logLevel: LogLevel;
    /** Undefined: pretty on a terminal, else JSON. */
    readonly logFormat: 'json' | 'pretty' | undefined;
    readonly metricsAddress: { host: string; port: number } | undefined;
    /** `-`: the log. Undefined: nothing is recorded. */
    readonly auditLogPath: string | undefined;
  };
  /** Every setting as one would write it in a file: for the admin socket. */
  readonly written: Readonly<Record<string, unknown>>;
}

/** When the authorities are followed up: shares of a life, and a wait in milliseconds. */
export interface CaRotation {
  readonly prepareLeft: number;
  readonly activateLeft: number;
  readonly jitter: number;
  readonly ackTimeoutMs: number;
}

/** A configuration, or everything that is wrong with it. */
export type ConfigReading =
  | { readonly config: Config }
  | {
      readonly config: undefined;
      /** `ERR_CONFIG`, at least one. */
      readonly faults: readonly IdentityError[];
      /** Where the policy is, when at least that can be told. */
      readonly sources: PolicySources | undefined;
    };

/** Reads and checks a configuration file; throws `ERR_CONFIG` with file, line and key. */
export function loadConfig(file: string, env: Environment = process.env): Config {
  return configOf(readConfig(file, env));
}

/** Reads a configuration file and goes on after a fault, so that `credence check` can show them all. */
export function readConfig(file: string, env: Environment): ConfigReading {
  const path = resolve(file);
  try {
    return examineConfig(readRegularFile(path), path, env);
  } catch (thrown) {
    const error = toIdentityError(thrown);
    if (error.code !== 'ERR_CONFIG') throw thrown;
    return { config: undefined, faults: [error], sources: undefined };
  }
}

function configOf(reading: ConfigReading): Config {
  if (reading.config) return reading.config;
  const [first, ...others] = reading.faults;
  if (!first) throw new TypeError('a configuration without faults');
  if (others.length === 0) throw first;
  const more = `${others.length} more ${others.length === 1 ? 'fault' : 'faults'}`;
  throw new IdentityError('ERR_CONFIG', `${first.message} (and ${more})`, {
    hint: first.hint ?? 'credence check lists all findings',
  });
}

const READ_FAULTS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'there is no such file',
  EACCES: 'this user may not read it',
};

function readRegularFile(path: string): Buffer {
  try {
    // Neither waits for a pipe nor reads a device that never ends.
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stats = fstatSync(fd);
      if (stats.isDirectory()) throw new Error('it is a folder');
      if (!stats.isFile()) throw new Error('it is not a regular file');
      if (stats.size > MAX_YAML_BYTES) {
        throw new Error(`it has ${stats.size} bytes, at most ${MAX_YAML_BYTES} are allowed`);
      }
      return readFileSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch (thrown) {
    const reason = READ_FAULTS[systemCode(thrown) ?? ''] ?? errorText(thrown);
    throw new IdentityError('ERR_CONFIG', `cannot read ${path}: ${reason}`, {
      cause: thrown,
      hint: '--config FILE names the configuration; envoy-configs/quickstart/credence.yaml is one',
    });
  }
}

/** The configuration that a text and an environment amount to. */
export function parseConfig(text: string | Uint8Array, path: string, env: Environment): Config {
  return configOf(examineConfig(text, path, env));
}

function examineConfig(text: string | Uint8Array, path: string, env: Environment): ConfigReading {
  const document = parseYaml(text, path, { code: 'ERR_CONFIG' });
  const { values, faults, complain, isSound } = readSettings(document, path, env);
  if (faults().length === 0) {
    const config = build(path, values, env, complain);
    if (faults().length === 0) return { config };
  }
  const known = isSound('trust_domain') && isSound('policy.paths');
  return {
    config: undefined,
    faults: faults(),
    sources: known ? toSources(path, values) : undefined,
  };
}

/** What the policy needs to know. */
export function policySources(config: Config) {
  const { policyPaths, trustDomain, issuer, attestation, clusterPolicy } = config;
  return {
    paths: policyPaths,
    trustDomain,
    // Whose life is not ours to set, no entry's is measured by.
    ...(issuer.upstream ? {} : { caTtlMs: issuer.caTtlMs }),
    classes: clusterPolicy.classes,
    clusterNames: clusterNamesOf(clusterPolicy),
    attests: {
      discoverPath: attestation.unix.discoverPath,
      kubernetes: attestation.kubernetes !== undefined,
      namespaceLabels: attestation.kubernetes?.namespaceLabels ?? false,
      containerSelectors: attestation.kubernetes?.containerSelectors ?? true,
      docker: attestation.docker !== undefined,
      rootlessPodman: (attestation.docker?.podmanSocketPathTemplate ?? '') !== '',
      systemd: attestation.systemd !== undefined,
    },
  } satisfies PolicySources;
}

const clusterNamesOf = ({ clusterName, clusterDomain }: ClusterPolicyConfig) => ({
  clusterName,
  clusterDomain,
});

/** The same of settings of which some may be wrong. */
function toSources(file: string, values: Values): PolicySources {
  const get = getter(values);
  return {
    paths: get<string[]>('policy.paths').map((path) => resolve(dirname(file), path)),
    trustDomain: parseTrustDomain(get('trust_domain')),
    classes: {
      className: get('policy.kubernetes.class_name'),
      classless: get('policy.kubernetes.watch_classless'),
    },
    clusterNames: {
      clusterName: get('policy.kubernetes.cluster_name'),
      clusterDomain: get('policy.kubernetes.cluster_domain'),
    },
    attests: {
      discoverPath: get('attestation.unix.discover_path'),
      kubernetes: get('attestation.kubernetes.enabled'),
      namespaceLabels: get('attestation.kubernetes.namespace_labels'),
      containerSelectors: get('attestation.kubernetes.container_selectors'),
      docker: get('attestation.docker.enabled'),
      rootlessPodman: get('attestation.docker.podman_socket_path_template') !== '',
      systemd: get('attestation.systemd.enabled'),
    },
  };
}

function build(file: string, values: Values, env: Environment, complain: Complain): Config {
  const get = getter(values);
  const absolute = (path: string) => resolve(dirname(file), path);
  const config: Config = {
    file,
    trustDomain: parseTrustDomain(get('trust_domain')),
    nodeName: get<string | null>('node_name') ?? hostname(),
    socketPaths: [get('socket_path'), ...get<string[]>('extra_socket_paths')].map(absolute),
    adminSocketPath: absolute(get('admin_socket_path')),
    dataDir: absolute(get('data_dir')),
    policyPaths: get<string[]>('policy.paths').map(absolute),
    clusterPolicy: buildClusterPolicy(get, complain),
    attestation: {
      unix: {
        enabled: get('attestation.unix.enabled'),
        discoverPath: get('attestation.unix.discover_path'),
      },
      kubernetes: buildKubernetes(get, absolute, env, complain),
      docker: buildDocker(get, absolute, complain),
      systemd: buildSystemd(get, absolute),
    },
    bundlesDir: optionalPath(get<string | null>('federation.bundles_dir'), absolute),
    issuer: {
      ...buildIssuer(get),
      pkcs11: buildPkcs11(get, absolute, env, complain),
      upstream: buildUpstream(get, absolute, complain),
      remote: buildRemote(get, absolute, env, complain),
    },
    rotation: { fraction: get('rotation.fraction'), jitter: get('rotation.jitter') },
    sds: {
      aliases: {
        svid: get('sds.default_svid_name'),
        bundle: get('sds.default_bundle_name'),
        allBundles: get('sds.default_all_bundles_name'),
      },
      spiffeCertValidation: get('sds.spiffe_cert_validation'),
      pendingTimeoutMs: get('sds.pending_timeout'),
      deniedParkMs: get('sds.denied_park'),
    },
    limits: buildLimits(get),
    signer: buildSigner(get, absolute, env, complain),
    drainDeadlineMs: get('drain_deadline'),
    telemetry: {
      logLevel: get('telemetry.log_level'),
      logFormat: get<'json' | 'pretty' | null>('telemetry.log_format') ?? undefined,
      metricsAddress: parseAddress(
        'telemetry.metrics_address',
        get('telemetry.metrics_address'),
        complain,
      ),
      auditLogPath: auditLogPath(get<string | null>('telemetry.audit_log_path'), absolute),
    },
    written: values.getProperties(),
  };
  checkCombinations(config, complain);
  return config;
}

function optionalPath(path: string | null, absolute: (path: string) => string): string | undefined {
  return path === null ? undefined : absolute(path);
}

function auditLogPath(path: string | null, absolute: (path: string) => string): string | undefined {
  return path === null || path === '-' ? (path ?? undefined) : absolute(path);
}

function buildIssuer(get: Get): Omit<Config['issuer'], 'upstream' | 'remote' | 'pkcs11'> {
  return {
    x509SvidTtlMs: get('issuer.x509_svid_ttl'),
    caTtlMs: get('issuer.ca_ttl'),
    rootTtlMs: get('issuer.root_ttl'),
    crlTtlMs: get('issuer.crl_ttl'),
    keyType: get('issuer.key_type'),
    caKeyType: get('issuer.ca_key_type'),
    keyManager: get('issuer.key_manager.type'),
    caRotation: {
      prepareLeft: get('issuer.ca_rotation.prepare_left'),
      activateLeft: get('issuer.ca_rotation.activate_left'),
      jitter: get('issuer.ca_rotation.jitter'),
      ackTimeoutMs: get('issuer.ca_rotation.ack_timeout'),
    },
    newRootDelayMs: get('issuer.upstream.new_root_delay'),
    nameConstraint: get('issuer.name_constraint'),
  };
}

function buildLimits(get: Get): Config['limits'] {
  return {
    connectionsPerUid: get('limits.connections_per_uid'),
    connectionsPerPid: get('limits.connections_per_pid'),
    connectsPerSecondPerUid: get('limits.connects_per_second_per_uid'),
    connectsPerSecondPerPid: get('limits.connects_per_second_per_pid'),
    streams: get('limits.streams'),
    names: get('limits.names'),
    requestsPerSecond: get('limits.requests_per_second'),
    streamsPerConnection: get('limits.streams_per_connection'),
    namesPerStream: get('limits.names_per_stream'),
    messageBytes: get('limits.message_bytes'),
  };
}
