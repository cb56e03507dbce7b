import { errorText, toIdentityError } from '../core/errors.ts';
import type { X509Authority } from '../identity/bundle.ts';
import { bad, inOrder, MAX_ROOTS, readRoot } from './roots.ts';

/** The forms that a bundle is given in: roots as PEM, or a SPIFFE bundle document (JWK Set). */
export type BundleFormat = 'pem' | 'spiffe';

/** What a document of another trust domain says; it does not name that domain (BU-02). */
export interface ForeignRoots {
  /** Each once, in the order of their bytes. Empty where a JWK Set has none: nobody is trusted (BU-12). */
  readonly roots: readonly X509Authority[];
  readonly format: BundleFormat;
}

/** A bundle's text takes no more. */
export const MAX_BUNDLE_BYTES = 262_144;

const BLOCK = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----/g;
const BEGIN = /-----BEGIN ([A-Z0-9 ]*)-----/g;
/** Standard base64 of a certificate (RFC 7517 4.7), without line breaks. */
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/**
 * Reads a bundle; the form is seen from the text unless it is given. Throws `ERR_BAD_REQUEST` with what
 * was expected: one root that is no good makes the document no good.
 */
export function parseBundle(text: string, format: BundleFormat = formOf(text)): ForeignRoots {
  if (Buffer.byteLength(text) > MAX_BUNDLE_BYTES) {
    throw bad(`it is larger than ${MAX_BUNDLE_BYTES} bytes`);
  }
  return { roots: inOrder(format === 'pem' ? readPem(text) : readJwks(text)), format };
}

function formOf(text: string): BundleFormat {
  return text.trimStart().startsWith('{') ? 'spiffe' : 'pem';
}

/** Certificates alone; what stands between them is no matter. */
function readPem(text: string): readonly X509Authority[] {
  const labels = Array.from(text.matchAll(BEGIN), ([, label = '']) => label);
  // A key must not lie about where bundles do: who put it there should hear of it.
  const other = labels.find((label) => label !== 'CERTIFICATE');
  if (other !== undefined) throw bad(`expected certificates alone, found a block of ${other}`);
  const blocks = Array.from(text.matchAll(BLOCK), ([, body = '']) => body);
  if (blocks.length === 0) throw bad('expected roots as PEM or a SPIFFE bundle, found neither');
  if (blocks.length !== labels.length) throw bad(`certificate ${blocks.length + 1} is cut short`);
  return readAll(blocks);
}

/** SPIFFE's form (BU-01, BU-10, BU-11): what has another use, or none, is left out. */
function readJwks(text: string): readonly X509Authority[] {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (thrown) {
    throw bad(`expected a SPIFFE bundle in JSON: ${errorText(thrown)}`);
  }
  const { keys } = fieldsOf(document);
  if (!Array.isArray(keys)) throw bad('expected a SPIFFE bundle with a list "keys"');
  const x5c: string[] = [];
  for (const [n, key] of keys.entries()) {
    const { use, kty, x5c: chain } = fieldsOf(key);
    // BU-11, BU-14: skipped, the rest is kept; values are case-sensitive.
    if (use !== 'x509-svid' || (kty !== 'EC' && kty !== 'RSA')) continue;
    // X5-61: exactly one certificate for a key.
    const [one, ...others] = Array.isArray(chain) ? (chain as unknown[]) : [];
    if (typeof one !== 'string' || !BASE64.test(one) || others.length > 0) {
      throw bad(`keys[${n}]: expected x5c with one certificate in base64`);
    }
    x5c.push(one);
  }
  return readAll(x5c);
}

function readAll(base64: readonly string[]): readonly X509Authority[] {
  if (base64.length > MAX_ROOTS) {
    throw bad(`it has ${base64.length} roots, at most ${MAX_ROOTS} are expected`);
  }
  return base64.map((text, n) => {
    try {
      return readRoot(Buffer.from(text, 'base64'));
    } catch (thrown) {
      throw bad(`certificate ${n + 1}: ${toIdentityError(thrown).message}`);
    }
  });
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
}
