import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { generatePrivateKey, localSigningKey, type SigningKey } from '../../src/issuer/keys.ts';
import { createSigningRequest } from '../../src/issuer/signing-request.ts';

export const SIGNER_NAME = 'credence.io/node-ca';
const DOMAIN = parseTrustDomain('example.org');
let count = 0;

/** What is other than a daemon would have it. */
export interface Wish {
  readonly key?: SigningKey;
  readonly name?: string;
  readonly uid?: string;
  readonly commonName?: string;
  readonly trustDomain?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly metadata?: object;
  readonly spec?: object;
  readonly extra?: object;
  readonly status?: object;
}

export async function newKey(type: 'ec-p256' | 'rsa-2048' = 'ec-p256'): Promise<SigningKey> {
  return localSigningKey(await generatePrivateKey(type), type);
}

/** PEM in base64, as it stands in `spec.request`. */
export function requestText(der: Buffer): string {
  const body = der.toString('base64').replaceAll(/(.{64})/g, '$1\n');
  const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${body}\n-----END CERTIFICATE REQUEST-----\n`;
  return Buffer.from(pem).toString('base64');
}

/** A CertificateSigningRequest for the CA of a node, as the API server has it. */
export async function nodeRequest(node = 'n1', wish: Wish = {}) {
  const key = wish.key ?? (await newKey());
  const name = wish.name ?? `credence-${node}-${++count}`;
  const domain = wish.trustDomain === undefined ? DOMAIN : parseTrustDomain(wish.trustDomain);
  const der = await createSigningRequest(key, domain, wish.commonName ?? `Credence node ${node}`);
  return {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: {
      ...{ name, uid: wish.uid ?? `uid-${name}` },
      annotations: wish.annotations ?? { 'credence.io/node-name': node },
      ...wish.metadata,
    },
    spec: {
      request: requestText(der),
      signerName: SIGNER_NAME,
      usages: ['cert sign', 'crl sign'],
      expirationSeconds: 86_400,
      username: 'system:serviceaccount:credence:credence',
      groups: ['system:serviceaccounts', 'system:serviceaccounts:credence', 'system:authenticated'],
      extra: {
        'authentication.kubernetes.io/node-name': [node],
        'authentication.kubernetes.io/pod-name': [`credence-${node}`],
        'authentication.kubernetes.io/pod-uid': [`pod-${node}`],
        ...wish.extra,
      },
      ...wish.spec,
    },
    status: wish.status ?? {},
  };
}
