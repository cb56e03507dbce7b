import { createHash } from 'node:crypto';
import { DerReader, TAG } from '../core/der.ts';
import { pemBytes } from '../identity/pem.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { SigningKey } from '../issuer/keys.ts';
import { createSigningRequest } from '../issuer/signing-request.ts';
import { subjectKeyId } from '../issuer/subject-key-id.ts';

/** Who asks. */
export interface Asker {
  readonly trustDomain: TrustDomain;
  readonly nodeName: string;
}

/** A PKCS#10 request as objects of the API carry it. */
export interface EncodedRequest {
  /** Of node and key: the same for the same key, after a restart as well. */
  readonly name: string;
  /** PEM in base64. */
  readonly text: string;
  /** Whether another such text asks for the same: signatures differ, each time they are made. */
  readonly isSame: (text: unknown) => boolean;
}

/** What a signer compares with the node that the token of the request is bound to. */
export const NODE_ANNOTATION = 'credence.io/node-name';
/** Of a name of 253 characters, what a suffix leaves room for beside prefix and digest. */
const MAX_NODE = 180;
const MAX_TEXT = 65_536;
const PEM =
  /^-----BEGIN CERTIFICATE REQUEST-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE REQUEST-----\s*$/;

/** A request for a CA of this node, whose name is in the subject as well. */
export async function encodeRequest(key: SigningKey, asker: Asker): Promise<EncodedRequest> {
  const { trustDomain, nodeName } = asker;
  const der = await createSigningRequest(key, trustDomain, `Credence node ${nodeName}`);
  const wanted = infoOf(der);
  return {
    name: `credence-${label(nodeName)}-${subjectKeyId(key.spki).toString('hex')}`,
    text: pemBytes('CERTIFICATE REQUEST', der).toString('base64'),
    isSame(text) {
      const info = typeof text === 'string' ? infoIn(text) : undefined;
      return info !== undefined && wanted !== undefined && info.equals(wanted);
    },
  };
}

/** A label's value that all requests of this node and trust domain have. */
export function nodeLabel({ trustDomain, nodeName }: Asker): string {
  return createHash('sha256').update(`${trustDomain}/${nodeName}`).digest('hex').slice(0, 40);
}

/** What may stand in the name of an object (RFC 1123), of a node's name. */
function label(nodeName: string): string {
  const safe = nodeName.toLowerCase().replace(/[^a-z0-9-]+/g, '-');
  return safe.slice(0, MAX_NODE).replace(/^-+|-+$/g, '') || 'node';
}

function infoIn(base64: string): Buffer | undefined {
  if (base64.length > MAX_TEXT) return undefined;
  const [, body] = PEM.exec(Buffer.from(base64, 'base64').toString('latin1')) ?? [];
  return body === undefined ? undefined : infoOf(Buffer.from(body, 'base64'));
}

/** All of it but the signature (RFC 2986 4.2). */
function infoOf(der: Buffer): Buffer | undefined {
  try {
    return new DerReader(der).enter(TAG.sequence).element(TAG.sequence);
  } catch {
    return undefined;
  }
}
