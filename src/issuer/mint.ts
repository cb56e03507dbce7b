import type { Clock } from '../core/clock.ts';
import type { Random } from '../core/random.ts';
import { pemBytes } from '../identity/pem.ts';
import { PrivateKey } from '../identity/private-key.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { X509Svid } from '../identity/svid.ts';
import type { Authority } from './authority.ts';
import { KEY_TYPES } from './key-type.ts';
import type { LeafKey, LeafKeySource } from './leaf-keys.ts';
import { lintLeaf } from './lint.ts';
import { checkMintRequest, createSerials, validityFrom, type MintRequest } from './profile.ts';
import { subjectKeyId } from './subject-key-id.ts';
import {
  assembleCertificate,
  createLeafTemplate,
  type LeafFields,
  type LeafIssuer,
  type LeafTemplate,
} from './template.ts';

/** The issuing CA of the moment. */
export interface CurrentCa {
  /** Undefined while there is none that can sign. */
  current(): Authority | undefined;
  /** Waits for one; `ERR_ISSUER` when there is none to be had, the signal's reason when aborted. */
  usable(options: { signal?: AbortSignal }): Promise<Authority>;
}

interface MintDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly trustDomain: TrustDomain;
  readonly defaultTtlMs: number;
  readonly leafKeys: LeafKeySource;
  readonly ca: CurrentCa;
}

export type Mint = (request: MintRequest, options: { signal?: AbortSignal }) => Promise<X509Svid>;

/** An issuing CA made ready for its leaves. */
interface Signer {
  readonly authority: Authority;
  /** Its subject key identifier, lower-case hex. */
  readonly authorityId: string;
  readonly issuer: LeafIssuer;
  readonly template: LeafTemplate;
  /** What goes behind each leaf. */
  readonly above: { readonly der: readonly Buffer[]; readonly pem: Buffer };
}

/**
 * The hot path: with EC keys everything from key pair to PEM happens in one turn of the event loop.
 * Throws `ERR_ISSUER` for what must not be signed or while there is no CA, `ERR_BUG` when the
 * finished certificate breaks the profile; then nothing leaves.
 */
export function createMint(deps: MintDeps): Mint {
  const { clock, random, leafKeys, ca } = deps;
  const nextSerial = createSerials(random);
  let signer: Signer | undefined;

  function signerOf(authority: Authority): Signer {
    if (signer?.authority !== authority) signer = createSigner(authority);
    return signer;
  }

  return async (request, options) => {
    options.signal?.throwIfAborted();
    checkMintRequest(request, deps.trustDomain);
    const made = leafKeys(options);
    const key = made instanceof Promise ? await made : made;
    try {
      return await certify(key, request, options);
    } catch (thrown) {
      key.pkcs8.fill(0);
      throw thrown;
    }
  };

  async function certify(
    key: LeafKey,
    request: MintRequest,
    options: { signal?: AbortSignal },
  ): Promise<X509Svid> {
    // The CA last: a key that took its time may have seen the CA replaced.
    const ready = signerOf(ca.current() ?? (await ca.usable(options)));
    options.signal?.throwIfAborted();
    const fields = fieldsOf(ready.authority, key, request);
    const tbs = ready.template(fields);
    const signed = ready.authority.key.sign(tbs);
    const signature = signed instanceof Promise ? await signed : signed;
    return finish(ready, key, fields, tbs, signature);
  }

  function fieldsOf(authority: Authority, key: LeafKey, request: MintRequest): LeafFields {
    const { notAfterMs } = authority.validity;
    return {
      id: request.id,
      dnsNames: request.dnsNames,
      serial: nextSerial(),
      validity: validityFrom(clock.now(), request.ttlMs ?? deps.defaultTtlMs, notAfterMs),
      spki: key.spki,
      keyId: subjectKeyId(key.spki),
    };
  }
}

function finish(
  { authority, authorityId, issuer, above }: Signer,
  key: LeafKey,
  fields: LeafFields,
  tbs: Buffer,
  signature: Buffer,
): X509Svid {
  const leaf = assembleCertificate(tbs, issuer.signatureAlgorithm, signature);
  lintLeaf(leaf, { fields, issuer, issuerValidity: authority.validity });
  const { notBeforeMs, notAfterMs } = fields.validity;
  return {
    id: fields.id,
    chain: [leaf, ...above.der],
    chainPem: pemBytes('CERTIFICATE', leaf, above.pem),
    key: new PrivateKey(key.pkcs8),
    serial: fields.serial.toString('hex'),
    authorityId,
    notBeforeMs,
    notAfterMs,
  };
}

function createSigner(authority: Authority): Signer {
  const { certificate, key, chain } = authority;
  const { signatureAlgorithm } = KEY_TYPES[key.type];
  const issuer = { name: certificate.subject, keyId: certificate.keyId, signatureAlgorithm };
  const above = {
    der: chain.map(({ der }) => der),
    pem: Buffer.concat(chain.map(({ pem }) => pem)),
  };
  const authorityId = certificate.keyId.toString('hex');
  return { authority, authorityId, issuer, template: createLeafTemplate(issuer), above };
}
