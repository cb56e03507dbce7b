import { webcrypto } from 'node:crypto';
import type { KeyUsageFlags, X509Certificate } from '@peculiar/x509';
import type { Clock } from '../../src/core/clock.ts';
import { der, TAG } from '../../src/core/der.ts';
import { loadX509Library } from '../../src/issuer/x509-library.ts';

/** What is wrong with what is signed. */
export type Flaw = 'none' | 'not_a_ca' | 'past' | 'other_key' | 'other_signer' | 'no_root';

export interface VaultPkiOptions {
  readonly clock: Clock;
  /** The mount signs with an intermediate CA; whether it knows that one's root. */
  readonly intermediate?: 'with_root' | 'without_root';
  /** `max_lease_ttl` of the mount. */
  readonly maxTtlS?: number;
  /** What becomes of a life beyond the issuer's: Vault since 1.17, or OpenBao and older ones. */
  readonly beyondIssuer?: 'truncate' | 'permit';
  readonly issuerTtlS?: number;
  /** Since 1.19 it knows name constraints for URIs. */
  readonly before119?: boolean;
}

/** A refusal with its status. */
export class PkiError extends Error {}

/** A PKI secrets engine: its issuer and what it makes of `sign-intermediate`. */
export interface VaultPki {
  readonly rootPem: string;
  flaw: Flaw;
  sign(body: Readonly<Record<string, unknown>>): Promise<{ data: object; warnings: string[] }>;
  /** `root/rotate`: a new root signs from now on. */
  rotate(): Promise<void>;
}

interface Signer {
  readonly certificate: X509Certificate;
  readonly key: webcrypto.CryptoKey;
  /** Above it. */
  readonly above: readonly X509Certificate[];
}

const EC = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_S = 86_400;

/** The parameters of "Sign intermediate" in the API's documentation. */
const PARAMETERS = [
  ...['csr', 'common_name', 'alt_names', 'ip_sans', 'uri_sans', 'other_sans', 'ttl', 'format'],
  ...['max_path_length', 'exclude_cn_from_sans', 'use_csr_values', 'permitted_dns_domains'],
  ...['ou', 'organization', 'country', 'locality', 'province', 'street_address', 'postal_code'],
  ...['serial_number', 'not_before_duration', 'not_after', 'signature_bits', 'skid', 'use_pss'],
];

export async function createVaultPki(options: VaultPkiOptions): Promise<VaultPki> {
  const { clock, intermediate, maxTtlS = 32 * DAY_S, beyondIssuer = 'truncate' } = options;
  const { issuerTtlS = 365 * DAY_S } = options;
  const x509 = await loadX509Library();
  const newKeys = () => webcrypto.subtle.generateKey(EC, true, ['sign', 'verify']);
  const usage = (x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign) as KeyUsageFlags;

  async function makeSigner(name: string, by?: Signer): Promise<Signer> {
    const keys = await newKeys();
    const certificate = await x509.X509CertificateGenerator.create({
      subject: `CN=${name}`,
      issuer: by?.certificate.subject ?? `CN=${name}`,
      notBefore: new Date(clock.now() - 30_000),
      notAfter: new Date(clock.now() + issuerTtlS * 1000),
      publicKey: keys.publicKey,
      signingKey: by?.key ?? keys.privateKey,
      signingAlgorithm: EC,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(usage, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    const above = by ? [by.certificate, ...by.above] : [];
    return { certificate, key: keys.privateKey, above };
  }

  let count = 0;
  let signer: Signer;
  let root: X509Certificate;
  async function rotate(): Promise<void> {
    const top = await makeSigner(`root ${++count}`);
    root = top.certificate;
    signer = intermediate ? await makeSigner(`between ${count}`, top) : top;
  }
  await rotate();

  const pem = (one: X509Certificate) => one.toString('pem').trim();
  const pki: VaultPki = {
    get rootPem() {
      return `${pem(root)}\n`;
    },
    flaw: 'none',
    rotate,
    async sign(body) {
      const known = options.before119 ? PARAMETERS : [...PARAMETERS, 'permitted_uri_domains'];
      const unknown = Object.keys(body).filter((name) => !known.includes(name));
      const constraint = options.before119 ? undefined : text(body['permitted_uri_domains']);
      const warnings =
        unknown.length > 0
          ? [`Endpoint ignored these unrecognized parameters: [${unknown.sort().join(' ')}]`]
          : [];
      if (!['pem', undefined].includes(text(body['format']))) {
        throw new PkiError('The "format" path parameter must be "pem", "der" or "pem_bundle"');
      }
      const csr = readCsr(text(body['csr']) ?? '');
      if (!(await csr.verify())) throw new PkiError('request signature invalid');
      const cn = text(body['common_name']) ?? /CN=([^,]*)/.exec(csr.subject)?.[1] ?? '';
      if (cn.includes(' ') && body['exclude_cn_from_sans'] !== true) {
        throw new PkiError('idna: disallowed rune U+0020');
      }
      const wantedS = seconds(body['ttl']);
      if (wantedS > maxTtlS) {
        warnings.push(
          `TTL "${wantedS}s" is longer than permitted maxTTL "${maxTtlS}s", so maxTTL is being used`,
        );
      }
      let notAfterMs = clock.now() + Math.min(wantedS, maxTtlS) * 1000;
      const signerEndMs = signer.certificate.notAfter.getTime();
      if (beyondIssuer === 'truncate') notAfterMs = Math.min(notAfterMs, signerEndMs);
      const past = pki.flaw === 'past' ? 30 * DAY_S * 1000 : 0;
      if (past > 0) notAfterMs = clock.now() - past / 2;
      const stranger = await makeSigner('stranger');
      const length = Number(body['max_path_length'] ?? -1);
      const uris = (text(body['uri_sans']) ?? '').split(',').filter(Boolean);
      const organization = text(body['organization']);
      const key = pki.flaw === 'other_key' ? stranger.certificate.publicKey : csr.publicKey;
      const certificate = await x509.X509CertificateGenerator.create({
        subject: [...(organization ? [`O=${organization}`] : []), `CN=${cn}`].join(', '),
        issuer: signer.certificate.subject,
        notBefore: new Date(clock.now() - 30_000 - past),
        notAfter: new Date(notAfterMs),
        publicKey: key,
        signingKey: pki.flaw === 'other_signer' ? stranger.key : signer.key,
        signingAlgorithm: EC,
        extensions: [
          new x509.BasicConstraintsExtension(
            pki.flaw !== 'not_a_ca',
            length >= 0 && pki.flaw !== 'not_a_ca' ? length : undefined,
            true,
          ),
          new x509.KeyUsagesExtension(usage, true),
          ...(uris.length > 0
            ? [
                new x509.SubjectAlternativeNameExtension(
                  uris.map((value) => ({ type: 'url', value }) as const),
                ),
              ]
            : []),
          ...(constraint === undefined ? [] : [uriConstraint(constraint)]),
          await x509.SubjectKeyIdentifierExtension.create(key),
          await x509.AuthorityKeyIdentifierExtension.create(signer.certificate.publicKey),
        ],
      });
      if (length === 0) {
        warnings.push('Max path length of the signed certificate is zero.');
      }
      const above = intermediate === 'without_root' ? [] : signer.above;
      const chain = [
        certificate,
        ...(pki.flaw === 'no_root' ? [] : [signer.certificate, ...above]),
      ];
      return {
        data: {
          certificate: pem(certificate),
          issuing_ca: pem(pki.flaw === 'no_root' ? certificate : signer.certificate),
          ca_chain: chain.map(pem),
          expiration: Math.floor(notAfterMs / 1000),
          serial_number: certificate.serialNumber.replace(/(..)(?!$)/g, '$1:'),
        },
        warnings,
      };
    },
  };
  return pki;

  /** RFC 5280 4.2.1.10: permittedSubtrees with one uniformResourceIdentifier. */
  function uriConstraint(host: string) {
    const subtree = der(TAG.sequence, der(TAG.sanUri, Buffer.from(host)));
    const value = der(TAG.sequence, der(0xa0, subtree));
    return new x509.Extension('2.5.29.30', true, value);
  }

  function readCsr(csr: string) {
    if (!csr.includes('BEGIN CERTIFICATE REQUEST')) throw new PkiError('no CSR could be decoded');
    try {
      return new x509.Pkcs10CertificateRequest(csr);
    } catch {
      throw new PkiError('certificate request could not be parsed');
    }
  }
}

const text = (value: unknown) => (typeof value === 'string' ? value : undefined);

/** As Vault reads durations; without one the default lease of 32 days. */
function seconds(value: unknown): number {
  if (value === undefined) return 32 * DAY_S;
  const match = /^(\d+)([smh]?)$/.exec(
    typeof value === 'number' ? `${value}` : (text(value) ?? ''),
  );
  if (!match) throw new PkiError('error converting input for field "ttl"');
  return Number(match[1]) * ({ s: 1, m: 60, h: 3600 }[match[2] ?? ''] ?? 1);
}
