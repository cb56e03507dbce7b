import { IdentityError } from '../core/errors.ts';
import { fieldSize, WireWriter } from './wire-writer.ts';

/** Type URL of the one resource of SDS. */
export const SECRET_TYPE_URL =
  'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret';

/** Roots of one trust domain for Envoy's SPIFFE validator. */
export interface SpiffeBundle {
  /** Bare name, without scheme. */
  readonly trustDomain: string;
  /** With the CRLs behind them: the validator looks for those nowhere else. */
  readonly rootsPem: Uint8Array;
}

const SECRET_TYPE = Buffer.from(SECRET_TYPE_URL);
const SPIFFE_VALIDATOR = Buffer.from('envoy.tls.cert_validator.spiffe');
const SPIFFE_VALIDATOR_TYPE = Buffer.from(
  'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig',
);

/** A `Secret` with `tls_certificate`, both parts inline. Throws `ERR_BUG` if a part is empty. */
export function encodeCertificateSecret(
  name: string,
  parts: { readonly chainPem: Uint8Array; readonly keyPem: Uint8Array },
): Buffer {
  const { chainPem, keyPem } = parts;
  refuseEmpty('name', name.length);
  refuseEmpty('certificate chain', chainPem.byteLength);
  refuseEmpty('private key', keyPem.byteLength);
  const nameBytes = Buffer.byteLength(name);
  const chain = fieldSize(chainPem.byteLength);
  const key = fieldSize(keyPem.byteLength);
  const certificate = fieldSize(chain) + fieldSize(key);
  return writer(fieldSize(nameBytes) + fieldSize(certificate))
    .text(1, name, nameBytes)
    .open(2, certificate)
    .open(1, chain)
    .bytes(2, chainPem)
    .open(2, key)
    .bytes(2, keyPem)
    .done();
}

/**
 * A `Secret` with `validation_context.trusted_ca`, and `crl` if there are any. Throws `ERR_BUG` if
 * there are no roots.
 */
export function encodePlainBundleSecret(
  name: string,
  rootsPem: Uint8Array,
  crlsPem?: Uint8Array,
): Buffer {
  refuseEmpty('name', name.length);
  refuseEmpty('roots', rootsPem.byteLength);
  // Envoy takes an empty one for a CRL that says nothing, and then refuses everybody.
  if (crlsPem) refuseEmpty('list of CRLs', crlsPem.byteLength);
  const nameBytes = Buffer.byteLength(name);
  const source = fieldSize(rootsPem.byteLength);
  const crls = crlsPem && fieldSize(crlsPem.byteLength);
  const context = fieldSize(source) + (crls === undefined ? 0 : fieldSize(crls));
  const w = writer(fieldSize(nameBytes) + fieldSize(context))
    .text(1, name, nameBytes)
    .open(4, context)
    .open(1, source)
    .bytes(2, rootsPem);
  if (crlsPem && crls !== undefined) w.open(7, crls).bytes(2, crlsPem);
  return w.done();
}

/**
 * A `Secret` with a validation context for Envoy's SPIFFE validator, which keeps trust domains
 * apart; with `jwksJson` in both of its forms. Throws `ERR_BUG` if there is no domain, a domain
 * without roots, or a domain twice.
 */
export function encodeSpiffeBundleSecret(
  name: string,
  bundles: readonly SpiffeBundle[],
  jwksJson?: Uint8Array,
): Buffer {
  refuseEmpty('name', name.length);
  refuseEmpty('list of trust domains', bundles.length);
  let config = 0;
  const seen = new Set<string>();
  const domains = bundles.map(({ trustDomain, rootsPem }) => {
    refuseEmpty('trust domain', trustDomain.length);
    refuseEmpty(`roots of ${trustDomain}`, rootsPem.byteLength);
    if (seen.has(trustDomain)) throw new IdentityError('ERR_BUG', `${trustDomain} twice`);
    seen.add(trustDomain);
    const nameBytes = Buffer.byteLength(trustDomain);
    const source = fieldSize(rootsPem.byteLength);
    const size = fieldSize(nameBytes) + fieldSize(source);
    config += fieldSize(size);
    return { trustDomain, rootsPem, nameBytes, source, size };
  });
  const jwks = jwksJson && fieldSize(jwksJson.byteLength);
  if (jwks !== undefined) config += fieldSize(jwks);
  const nameBytes = Buffer.byteLength(name);
  const any = fieldSize(SPIFFE_VALIDATOR_TYPE.byteLength) + fieldSize(config);
  const extension = fieldSize(SPIFFE_VALIDATOR.byteLength) + fieldSize(any);
  const context = fieldSize(extension);
  const w = writer(fieldSize(nameBytes) + fieldSize(context))
    .text(1, name, nameBytes)
    .open(4, context)
    .open(12, extension)
    .bytes(1, SPIFFE_VALIDATOR)
    .open(2, any)
    .bytes(1, SPIFFE_VALIDATOR_TYPE)
    .open(2, config);
  for (const { trustDomain, rootsPem, nameBytes: size, source, size: domain } of domains) {
    w.open(1, domain).text(1, trustDomain, size).open(2, source).bytes(2, rootsPem);
  }
  if (jwksJson && jwks !== undefined) w.open(2, jwks).bytes(2, jwksJson);
  return w.done();
}

/** A secret as the `resources` field of a response, made once and shared by all streams. */
export function encodeResource(secret: Uint8Array): Buffer {
  refuseEmpty('secret', secret.byteLength);
  const any = fieldSize(SECRET_TYPE.byteLength) + fieldSize(secret.byteLength);
  return writer(fieldSize(any)).open(2, any).bytes(1, SECRET_TYPE).bytes(2, secret).done();
}

/**
 * A writer for what lives long, so not on Node's shared pool, which the longest-lived slice keeps
 * whole. `done` makes sure that no byte is left unwritten.
 */
function writer(size: number): WireWriter {
  return new WireWriter(Buffer.allocUnsafeSlow(size));
}

/** An empty secret is acknowledged by Envoy and switches verification off, so it must not exist. */
function refuseEmpty(what: string, size: number): void {
  if (size === 0) throw new IdentityError('ERR_BUG', `a secret with an empty ${what}`);
}
