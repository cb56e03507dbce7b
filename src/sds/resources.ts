import { createHash } from 'node:crypto';
import type { TrustBundle } from '../identity/bundle.ts';
import { pemBytes } from '../identity/pem.ts';
import type { X509Svid } from '../identity/svid.ts';
import { isEnvoySince, type NodeInfo } from './node-info.ts';
import {
  encodeCertificateSecret,
  encodePlainBundleSecret,
  encodeResource,
  encodeSpiffeBundleSecret,
} from './secret-messages.ts';

/** A named secret, encoded once and shared by all streams that send it. */
export interface Secret {
  readonly name: string;
  /** Digest of the content: the version of the resource. */
  readonly version: string;
  /** The resource as it stands in a response. */
  readonly resource: Uint8Array;
}

/**
 * How trust bundles are written: a plain list of roots, or for Envoy's SPIFFE validator, with a
 * list of trust domains alone or with the same as `trust_bundles` beside it.
 */
export type BundleForm = 'plain' | 'domains' | 'domains-and-bundles';

/** The validator itself is as old as the first version that Credence could meet, 1.18. */
const TRUST_BUNDLES_SINCE = { major: 1, minor: 34, patch: 0 };

/**
 * The form for a proxy: what its node says, else what is configured. A field that is newer than the
 * version it states would be dropped, or refused by a proxy that takes unknown fields for errors.
 */
export function bundleFormOf(node: NodeInfo | undefined, spiffeByDefault: boolean): BundleForm {
  if (node?.disableSpiffeCertValidation ?? !spiffeByDefault) return 'plain';
  return isEnvoySince(node, TRUST_BUNDLES_SINCE) ? 'domains-and-bundles' : 'domains';
}

/** Makes secrets from identities; the same content under the same name is one object. */
export interface SecretEncoder {
  certificate(name: string, svid: X509Svid): Secret;
  /** In plain form exactly one bundle: a plain list of roots does not keep domains apart. */
  bundles(name: string, bundles: readonly TrustBundle[], form: BundleForm): Secret;
}

/** A validation context and the bundles' sequence numbers it was made from. */
interface EncodedBundles {
  readonly state: string;
  readonly secret: Secret;
}

/** An encoder whose secrets live as long as the SVIDs and bundles they were made from. */
export function createSecretEncoder(): SecretEncoder {
  // Keyed by the objects themselves: an SVID or bundle that is dropped takes its bytes along.
  const certificates = new WeakMap<X509Svid, Map<string, Secret>>();
  const contexts = new WeakMap<TrustBundle, Map<string, EncodedBundles>>();
  const pems = new WeakMap<TrustBundle, BundlePem>();
  const pemOf = (bundle: TrustBundle) => cached(pems, bundle, () => bundlePem(bundle));

  return {
    certificate(name, svid) {
      const byName = cached(certificates, svid, () => new Map<string, Secret>());
      return cached(byName, name, () => certificateSecret(name, svid));
    },
    bundles(name, bundles, form) {
      const [first] = bundles;
      if (!first) throw new TypeError('a validation context needs a trust bundle');
      if (form === 'plain' && bundles.length > 1) {
        throw new TypeError('a plain validation context holds one bundle');
      }
      const known = cached(contexts, first, () => new Map<string, EncodedBundles>());
      const key = [form, name, ...bundles.map((b) => b.trustDomain)].join(' ');
      // Replaced in place: bundles of others may change for as long as the first one stays.
      const state = bundles.map((b) => b.sequence).join(' ');
      const before = known.get(key);
      if (before?.state === state) return before.secret;
      const bytes =
        form === 'plain'
          ? encodePlainBundleSecret(name, pemOf(first).roots, pemOf(first).crls)
          : encodeSpiffeBundleSecret(
              name,
              bundles.map((b) => ({ trustDomain: b.trustDomain, rootsPem: pemOf(b).all })),
              // It would win, and has no place for CRLs.
              form === 'domains-and-bundles' && !bundles.some((b) => pemOf(b).crls)
                ? trustBundlesJson(bundles)
                : undefined,
            );
      const secret = secretOf(name, bytes, bytes);
      known.set(key, { state, secret });
      return secret;
    },
  };
}

/** A bundle as PEM. */
interface BundlePem {
  readonly roots: Buffer;
  /** Undefined when there is none. */
  readonly crls: Buffer | undefined;
  readonly all: Buffer;
}

function bundlePem({ x509Authorities, crls: list = [] }: TrustBundle): BundlePem {
  const roots = Buffer.concat(x509Authorities.map(({ der }) => pemBytes('CERTIFICATE', der)));
  if (list.length === 0) return { roots, crls: undefined, all: roots };
  const crls = Buffer.concat(list.map((crl) => pemBytes('X509 CRL', crl)));
  return { roots, crls, all: Buffer.concat([roots, crls]) };
}

/**
 * SPIFFE bundles by trust domain, as `trust_bundles` of the validator wants them: Envoy reads `use`
 * and `x5c`, and refuses all domains for one key of another use.
 */
function trustBundlesJson(bundles: readonly TrustBundle[]): Buffer {
  const domains = bundles.map(({ trustDomain, x509Authorities }) => {
    const keys = x509Authorities.map(({ der }) => ({
      use: 'x509-svid',
      x5c: [Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString('base64')],
    }));
    return [trustDomain, { keys }] as const;
  });
  return Buffer.from(JSON.stringify({ trust_domains: Object.fromEntries(domains) }));
}

function certificateSecret(name: string, svid: X509Svid): Secret {
  const keyPem = svid.key.pem();
  const bytes = encodeCertificateSecret(name, { chainPem: svid.chainPem, keyPem });
  // The version speaks of the certificate alone: nothing derived from a key leaves as text.
  const secret = secretOf(name, svid.chainPem, bytes);
  // Copied into the resource, the one copy that streams share.
  keyPem.fill(0);
  bytes.fill(0);
  return secret;
}

function secretOf(name: string, content: Uint8Array, bytes: Uint8Array): Secret {
  const version = createHash('sha256').update(content).digest('hex').slice(0, 32);
  return { name, version, resource: encodeResource(bytes) };
}

function cached<K, V>(
  map: { get(key: K): V | undefined; set(key: K, value: V): unknown },
  key: K,
  make: () => V,
): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}
