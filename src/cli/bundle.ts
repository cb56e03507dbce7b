import { X509Certificate } from 'node:crypto';
import { IdentityError } from '../core/errors.ts';
import { pemBytes } from '../identity/pem.ts';
import { askAdminJson } from './admin-client.ts';
import { textOf, type Action } from './command.ts';
import { EXIT } from './exit.ts';
import { adminSocket } from './sockets.ts';

/** A bundle as the admin socket gives it. */
interface BundleView {
  readonly trust_domain: string;
  readonly sequence: number;
  readonly x509_authorities: readonly string[];
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
  const roots = bundle.x509_authorities.map((text) => Buffer.from(text, 'base64'));
  if (format === 'pem') {
    for (const der of roots) terminal.out(pemBytes('CERTIFICATE', der).toString('latin1'));
    return EXIT.done;
  }
  const { exportJWK } = await import('jose');
  const keys = [];
  for (const der of roots) {
    const { kty, crv, x, y, n, e } = await exportJWK(new X509Certificate(der).publicKey);
    // The members that SPIFFE defines and no others (BU-15); no kid for X.509 (X5-62).
    const members = Object.entries({ kty, crv, x, y, n, e }).filter(([, v]) => v !== undefined);
    keys.push({ use: 'x509-svid', ...Object.fromEntries(members), x5c: [der.toString('base64')] });
  }
  const document = { keys, spiffe_sequence: bundle.sequence, spiffe_refresh_hint: 300 };
  terminal.out(`${JSON.stringify(document, undefined, 2)}\n`);
  return EXIT.done;
};

function toBundle(document: unknown): BundleView {
  const fits =
    typeof document === 'object' &&
    document !== null &&
    'x509_authorities' in document &&
    Array.isArray(document.x509_authorities);
  if (!fits) throw new IdentityError('ERR_UNREACHABLE', 'the daemon answered something else');
  return document as unknown as BundleView;
}
