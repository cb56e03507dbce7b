import { webcrypto } from 'node:crypto';
import type { KeyUsageFlags } from '@peculiar/x509';
import type { TrustBundle } from '../../src/identity/bundle.ts';
import { pemBytes } from '../../src/identity/pem.ts';
import { PrivateKey } from '../../src/identity/private-key.ts';
import { parseSpiffeId, parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import type { X509Svid } from '../../src/identity/svid.ts';
import { loadX509Library } from '../../src/issuer/x509-library.ts';

type Algorithm =
  webcrypto.EcKeyGenParams | webcrypto.RsaHashedKeyGenParams | { readonly name: 'Ed25519' };

export const P256: Algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
export const P384: Algorithm = { name: 'ECDSA', namedCurve: 'P-384' };
export const P521: Algorithm = { name: 'ECDSA', namedCurve: 'P-521' };
export const ED25519: Algorithm = { name: 'Ed25519' };
export const rsa = (bits: number): Algorithm => ({
  name: 'RSASSA-PKCS1-v1_5',
  modulusLength: bits,
  publicExponent: Buffer.of(1, 0, 1),
  hash: 'SHA-256',
});

/** What is other than it should be in an SVID that no issuer would sign. */
export interface Forgery {
  readonly algorithm?: Algorithm;
  readonly uris?: readonly string[];
  /** Empty for no such extension. */
  readonly keyUsage?: readonly (keyof typeof KeyUsageFlags)[];
  readonly purposes?: readonly string[];
  readonly ca?: boolean;
  readonly notBeforeMs?: number;
  readonly notAfterMs?: number;
  /** Another key than the certificate's. */
  readonly otherKey?: boolean;
  /** Names of `leaf`, `issuing`, `root`, `stranger`, in the order of the chain. */
  readonly chain?: readonly ('leaf' | 'issuing' | 'root' | 'stranger')[];
}

const SERVER = '1.3.6.1.5.5.7.3.1';
const CLIENT = '1.3.6.1.5.5.7.3.2';
const DAY_MS = 86_400_000;

/** Forges SVIDs below one root. */
export interface Forger {
  svid(forgery?: Forgery): Promise<X509Svid>;
  bundle(...roots: readonly ('root' | 'issuing')[]): TrustBundle;
  readonly rootKey: webcrypto.CryptoKey;
  readonly issuingKey: webcrypto.CryptoKey;
}

/** Real certificates with faults of choice, of the trust domain `example.org`. */
export async function createForger(
  nowMs: number,
  id = 'spiffe://example.org/web',
): Promise<Forger> {
  const x509 = await loadX509Library();
  const { subtle } = webcrypto;
  const pair = (algorithm: Algorithm) =>
    subtle.generateKey(algorithm, true, ['sign', 'verify']) as Promise<webcrypto.CryptoKeyPair>;
  const signing = { name: 'ECDSA', hash: 'SHA-256' };
  const [rootKeys, issuingKeys, strangerKeys] = [
    await pair(P256),
    await pair(P256),
    await pair(P256),
  ];
  const bits = (names: readonly (keyof typeof KeyUsageFlags)[]) =>
    // eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment -- its bits are joined
    names.reduce<number>((sum, name) => sum | x509.KeyUsageFlags[name], 0) as KeyUsageFlags;

  async function ca(name: string, keys: webcrypto.CryptoKeyPair, signer = keys, issuer = name) {
    return x509.X509CertificateGenerator.create({
      subject: `CN=${name}`,
      issuer: `CN=${issuer}`,
      notBefore: new Date(nowMs - DAY_MS),
      notAfter: new Date(nowMs + 10 * DAY_MS),
      publicKey: keys.publicKey,
      signingKey: signer.privateKey,
      signingAlgorithm: signing,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(bits(['keyCertSign', 'cRLSign']), true),
      ],
    });
  }
  const root = await ca('root', rootKeys);
  const issuing = await ca('issuing', issuingKeys, rootKeys, 'root');
  const stranger = await ca('stranger', strangerKeys, rootKeys, 'root');

  return {
    rootKey: rootKeys.privateKey,
    issuingKey: issuingKeys.privateKey,
    async svid(forgery = {}) {
      const {
        algorithm = P256,
        uris = [id],
        keyUsage = ['digitalSignature'],
        purposes = [SERVER, CLIENT],
        ca: isCa = false,
        notBeforeMs = nowMs - 1000,
        notAfterMs = nowMs + DAY_MS,
        otherKey = false,
        chain = ['leaf', 'issuing'],
      } = forgery;
      const keys = await pair(algorithm);
      const leaf = await x509.X509CertificateGenerator.create({
        subject: 'CN=leaf',
        issuer: 'CN=issuing',
        notBefore: new Date(notBeforeMs),
        notAfter: new Date(notAfterMs),
        publicKey: keys.publicKey,
        signingKey: issuingKeys.privateKey,
        signingAlgorithm: signing,
        extensions: [
          new x509.BasicConstraintsExtension(isCa, undefined, true),
          ...(keyUsage.length > 0 ? [new x509.KeyUsagesExtension(bits(keyUsage), true)] : []),
          ...(purposes.length > 0 ? [new x509.ExtendedKeyUsageExtension([...purposes])] : []),
          new x509.SubjectAlternativeNameExtension(
            uris.map((value) => ({ type: 'url' as const, value })),
          ),
        ],
      });
      const own = otherKey ? await pair(algorithm) : keys;
      const certificates = { leaf, issuing, root, stranger };
      const ders = chain.map((name) => Buffer.from(certificates[name].rawData));
      return {
        id: parseSpiffeId(id),
        chain: ders,
        chainPem: Buffer.concat(ders.map((der) => pemBytes('CERTIFICATE', der))),
        key: new PrivateKey(Buffer.from(await subtle.exportKey('pkcs8', own.privateKey))),
        serial: leaf.serialNumber,
        authorityId: 'aa'.repeat(20),
        notBeforeMs,
        notAfterMs,
      };
    },
    bundle: (...roots) => ({
      trustDomain: parseTrustDomain('example.org'),
      sequence: 1,
      x509Authorities: roots.map((name) => ({
        der: Buffer.from((name === 'root' ? root : issuing).rawData),
        notAfterMs: nowMs + 10 * DAY_MS,
      })),
    }),
  };
}
