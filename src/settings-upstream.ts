import { oneOf, optionalText, setting, text, texts, type Setting } from './setting-formats.ts';

/** Authorities elsewhere that sign issuing CAs for keys made here. */
export const UPSTREAM_SETTINGS: readonly Setting[] = [
  setting(
    'issuer.upstream.vault.address',
    text,
    undefined,
    'vault: where it is, https://host:port; http to this machine alone',
  ),
  setting(
    'issuer.upstream.vault.namespace',
    optionalText,
    '',
    'vault: namespace of the mounts; empty: none',
  ),
  setting(
    'issuer.upstream.vault.ca_file',
    text,
    undefined,
    'vault: PEM of what its certificate is verified with; the public CAs by default',
  ),
  setting(
    'issuer.upstream.vault.server_name',
    text,
    undefined,
    'vault: name or address that its certificate has to be of; the host of the address by default',
  ),
  setting(
    'issuer.upstream.vault.redirect_hosts',
    texts,
    [],
    'vault: hosts beside that of the address to which a standby may send, token and all',
  ),
  setting(
    'issuer.upstream.vault.pki_mount',
    text,
    'pki',
    'vault: path of the PKI secrets engine that signs',
  ),
  setting(
    'issuer.upstream.vault.issuer_ref',
    text,
    undefined,
    'vault: name or identifier of the issuer in that mount; its default one unless told',
  ),
  setting(
    'issuer.upstream.vault.root_file',
    text,
    undefined,
    'vault: PEM of roots that the mount does not know; for an intermediate CA without its root',
  ),
  setting(
    'issuer.upstream.vault.auth.type',
    oneOf('token', 'approle', 'kubernetes', 'cert'),
    undefined,
    'vault: how the daemon logs in; required',
  ),
  setting(
    'issuer.upstream.vault.auth.mount',
    text,
    undefined,
    'vault: path of the auth method below auth/; the name of the type by default',
  ),
  setting(
    'issuer.upstream.vault.auth.token_file',
    text,
    undefined,
    'token: file of the token, read again when it is replaced, of root or this user and out of reach of others',
  ),
  setting('issuer.upstream.vault.auth.role_id', text, undefined, 'approle: the role ID'),
  setting(
    'issuer.upstream.vault.auth.secret_id_file',
    text,
    undefined,
    'approle: file of the secret ID, read at each login, of root or this user and out of reach of others',
  ),
  setting(
    'issuer.upstream.vault.auth.role',
    text,
    undefined,
    'kubernetes: the role, required; cert: the certificate role, by default any that fits',
  ),
  setting(
    'issuer.upstream.vault.auth.jwt_file',
    text,
    undefined,
    "kubernetes: file of the service account token, read at each login; by default the pod's",
  ),
  setting(
    'issuer.upstream.vault.auth.cert_file',
    text,
    undefined,
    'cert: PEM of the client certificate, then of the CAs above it',
  ),
  setting(
    'issuer.upstream.vault.auth.key_file',
    text,
    undefined,
    'cert: PEM of its key, of root or this user and out of reach of others',
  ),
];
