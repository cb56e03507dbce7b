import { X509Certificate } from 'node:crypto';
import { IdentityError } from '../core/errors.ts';
import { pemBytes } from '../identity/pem.ts';
import { askAdminJson } from './admin-client.ts';
import { textOf, type Action } from './command.ts';
import { EXIT } from './exit.ts';
import { adminSocket } from './sockets.ts';

/** A bundle as the admin socket gives it. */
interface BundleView {
  readonly sequence: number;
  readonly roots: readonly X509Certificate[];
  /** DER. */
  readonly crls: readonly Buffer[];
}

/** `credence bundle show`: the trust bundle as PEM or as a SPIFFE bundle document. */
export const bundleShow: Action = async (given, _operands, terminal) => {
  const format = textOf(given, 'format') ?? 'pem';
  if (format !== 'pem' && format !== 'spiffe') {
    throw new IdentityError('ERR_USAGE', `--format is "${format}", expected pem or spiffe`);
  }
  const domain = textOf(given, 'trust-domain');
  const query = domain === undefined ? '' : `?trust_domain=${encodeURIComponent(domain)}`;
  const socket = await adminSocket(given, terminal);
  const bundle = toBundle(await askAdminJson(socket, `/bundle${query}`, terminal));
  if (format === 'pem') {
    for (const { raw } of bundle.roots)
      terminal.out(pemBytes('CERTIFICATE', raw).toString('latin1'));
    for (const crl of bundle.crls) terminal.out(pemBytes('X509 CRL', crl).toString('latin1'));
    return EXIT.done;
  }
  const { exportJWK } = await import('jose');
  const keys = [];
  for (const { publicKey, raw } of bundle.roots) {
    const { kty, crv, x, y, n, e } = await exportJWK(publicKey);
    // The members that SPIFFE defines and no others (BU-15); no kid for X.509 (X5-62).
    const members = Object.entries({ kty, crv, x, y, n, e }).filter(([, v]) => v !== undefined);
    keys.push({ use: 'x509-svid', ...Object.fromEntries(members), x5c: [raw.toString('base64')] });
  }
  const document = { keys, spiffe_sequence: bundle.sequence, spiffe_refresh_hint: 300 };
  terminal.out(`${JSON.stringify(document, undefined, 2)}\n`);
  return EXIT.done;
};

function toBundle(document: unknown): BundleView {
  try {
    const from = document as Readonly<Record<string, unknown>>;
    const { sequence, x509_authorities: roots, crls = [] } = from;
    if (typeof sequence !== 'number') throw new TypeError('it has no sequence');
    return {
      sequence,
      roots: (roots as string[]).map((der) => new X509Certificate(Buffer.from(der, 'base64'))),
      crls: (crls as string[]).map((der) => Buffer.from(der, 'base64')),
    };
  } catch (thrown) {
    throw new IdentityError('ERR_UNREACHABLE', 'the daemon answered something else than a bundle', {
      cause: thrown,
    });
  }
}
