import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import type { DecodedResponse, DecodedSecret } from './secrets.ts';

export const namesOf = (response: DecodedResponse) => response.secrets.map(({ name }) => name);

/** The secret of a response that has one. */
export function only(response: DecodedResponse): DecodedSecret {
  const [secret, ...others] = response.secrets;
  assert.ok(secret && others.length === 0, `${response.secrets.length} secrets`);
  return secret;
}

/** Certificates and key of a secret, after what every proxy relies on was checked. */
export function certificateOf(secret: DecodedSecret | undefined) {
  assert.ok(secret?.kind === 'certificate', secret?.kind);
  const [leaf, ...issuers] = secret.chain
    .split(/(?<=-----END CERTIFICATE-----\n)/)
    .map((pem) => new X509Certificate(pem));
  assert.ok(leaf);
  assert.match(secret.key, /^-----BEGIN PRIVATE KEY-----/);
  const key = createPrivateKey(secret.key);
  assert.ok(leaf.checkPrivateKey(key));
  assert.ok(issuers.length > 0 && leaf.checkIssued(issuers[0] ?? leaf));
  assert.ok(
    issuers.every((issuer) => issuer.subject !== issuer.issuer),
    'a root in the chain',
  );
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' }).toString('base64');
  return { uri: leaf.subjectAltName, serial: leaf.serialNumber, spki };
}
