import type { Config } from './config.ts';
import { canBeConstrained } from './issuer/name-constraints.ts';
import { MAX_SOCKET_PATH_BYTES } from './core/unix-socket.ts';
import type { Complain } from './read-settings.ts';

/** Complains of settings that are each right and do not go together. */
export function checkCombinations(config: Config, complain: Complain): void {
  const { aliases } = config.sds;
  if (new Set(Object.values(aliases)).size < 3) {
    complain('sds', 'the three default names must differ: one name is one kind of secret');
  }
  for (const [key, name] of Object.entries({
    'sds.default_svid_name': aliases.svid,
    'sds.default_bundle_name': aliases.bundle,
    'sds.default_all_bundles_name': aliases.allBundles,
  })) {
    if (name.startsWith('spiffe://') || name === '*') {
      complain(key, `"${name}" has a fixed meaning and cannot be a default name`);
    }
  }
  const { issuer } = config;
  if (!issuer.upstream && !issuer.remote && issuer.caTtlMs > issuer.rootTtlMs) {
    complain('issuer.ca_ttl', 'expected at most issuer.root_ttl: a CA cannot outlive its root');
  }
  if (!issuer.upstream && issuer.x509SvidTtlMs > issuer.caTtlMs) {
    complain(
      'issuer.x509_svid_ttl',
      'expected at most issuer.ca_ttl: an SVID cannot outlive its CA',
    );
  }
  checkRotation(config, complain);
  if (!config.attestation.unix.enabled) {
    complain('attestation.unix.enabled', 'expected true: each process is attested by its user');
  }
  checkSockets(config, complain);
}

/** The next authority is there before it takes over, and after the one before it has begun. */
function checkRotation({ issuer, trustDomain }: Config, complain: Complain): void {
  const { prepareLeft, activateLeft, jitter } = issuer.caRotation;
  if (activateLeft >= prepareLeft) {
    complain(
      'issuer.ca_rotation.activate_left',
      'expected less than issuer.ca_rotation.prepare_left: what takes over has to be there before',
    );
  }
  if (prepareLeft * (1 + jitter) >= 1) {
    complain(
      'issuer.ca_rotation.prepare_left',
      'expected less than 1 with issuer.ca_rotation.jitter added: the next one would be made at once',
    );
  }
  if (issuer.nameConstraint && !canBeConstrained(trustDomain)) {
    complain(
      'issuer.name_constraint',
      'expected false: RFC 5280 has no constraint for a trust domain that is an IP address',
    );
  }
}

/** Each path fits into a socket's name and is named once. */
function checkSockets({ socketPaths, adminSocketPath }: Config, complain: Complain): void {
  const sockets = [
    ...socketPaths.map((path, n) => [n === 0 ? 'socket_path' : 'extra_socket_paths', path]),
    ['admin_socket_path', adminSocketPath],
  ] as const;
  const seen = new Set<string>();
  for (const [key = '', path = ''] of sockets) {
    const bytes = Buffer.byteLength(path);
    if (bytes > MAX_SOCKET_PATH_BYTES) {
      complain(
        key,
        `${path} has ${bytes} bytes, a socket path has at most ${MAX_SOCKET_PATH_BYTES}`,
      );
    }
    if (seen.has(path))
      complain(key, `${path} is named twice, each socket needs a path of its own`);
    seen.add(path);
  }
}
