import { errorText } from '../core/errors.ts';
import { trustDomainId, type TrustDomain } from '../identity/spiffe-id.ts';
import { subjectKeyId } from '../issuer/subject-key-id.ts';
import { list, record, text } from '../kubernetes/fields.ts';
import { keyIdIn, parseCaRequest, type CaRequest } from './pkcs10.ts';

/** Whose requests are signed, and within which limits. */
export interface SigningRules {
  readonly trustDomain: TrustDomain;
  readonly signerName: string;
  readonly serviceAccount: { readonly namespace: string; readonly name: string };
  /** Shortest and longest life of a node's CA, in milliseconds. */
  readonly minTtlMs: number;
  readonly maxTtlMs: number;
}

/** Why a request is denied; a closed set, for the condition and the metrics. */
export type DenialReason =
  | 'NotTheDaemon'
  | 'NotBoundToAPod'
  | 'OtherNode'
  | 'BadRequest'
  | 'BadUsages'
  | 'BadLifetime'
  | 'KeySeenBefore'
  | 'TooManyCas'
  | 'NodeRevoked'
  | 'PodGone';

export interface Denial {
  readonly kind: 'deny';
  readonly reason: DenialReason;
  /** A sentence for whoever asked. */
  readonly message: string;
}

/** A request that is in order as far as it can be seen from itself. */
export interface Candidate {
  readonly kind: 'candidate';
  readonly node: string;
  readonly pod: { readonly name: string; readonly uid: string };
  readonly spki: Buffer;
  readonly keyId: Buffer;
  readonly ttlMs: number;
}

export type Verdict = Candidate | Denial;

/** Annotation of a request with the node that it is for. */
export const NODE_ANNOTATION = 'credence.io/node-name';
/** Extras of who authenticates with a token that is bound to a pod; the API server writes them. */
const EXTRA = 'authentication.kubernetes.io/';
/** RFC 1123 subdomain: what a node may be called. */
const NODE_NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
/** RFC 5280 appendix A: ub-common-name. */
const MAX_COMMON_NAME_BYTES = 64;
/** Base64 of the longest request that is read, with the lines and marks of PEM. */
const MAX_REQUEST_TEXT = 16_384;
const USAGES = ['cert sign', 'crl sign'];

/** What the CA of a node is called, and who asks for it calls itself. */
export function nodeCommonName(node: string): string {
  const bytes = Buffer.from(`Credence node ${node}`, 'utf8');
  return bytes.subarray(0, MAX_COMMON_NAME_BYTES).toString('utf8');
}

/**
 * What is to become of a CertificateSigningRequest. A pure function: the name of the user and the
 * extras are the API server's word, everything else is what somebody wrote.
 */
export function judge(request: unknown, rules: SigningRules): Verdict {
  const spec = record(record(request)['spec']);
  const stranger = strangerFault(spec, rules);
  if (stranger !== undefined) return deny('NotTheDaemon', stranger);
  const bound = boundTo(record(spec['extra']));
  if (typeof bound === 'string') return deny('NotBoundToAPod', bound);
  const { node, pod } = bound;
  const annotations = record(record(record(request)['metadata'])['annotations']);
  if (text(annotations[NODE_ANNOTATION]) !== node) {
    return deny(
      'OtherNode',
      `the annotation ${NODE_ANNOTATION} does not name ${node}, on which the pod of the token is`,
    );
  }
  const usages = list(spec['usages']).map(text).sort();
  if (usages.join() !== USAGES.join()) {
    return deny('BadUsages', `expected the usages ${USAGES.join(', ')} and no other`);
  }
  const ttlMs = lifetime(spec['expirationSeconds'], rules);
  if (typeof ttlMs === 'string') return deny('BadLifetime', ttlMs);
  const read = readRequest(text(spec['request']));
  if (typeof read === 'string') return deny('BadRequest', read);
  const fault = contentFault(read, node, rules.trustDomain);
  if (fault) return fault;
  const { spki } = read;
  return { kind: 'candidate', node, pod, spki, keyId: subjectKeyId(spki), ttlMs };
}

function strangerFault(
  spec: Readonly<Record<string, unknown>>,
  { serviceAccount: { namespace, name } }: SigningRules,
): string | undefined {
  const expected = `system:serviceaccount:${namespace}:${name}`;
  if (text(spec['username']) !== expected) return `only ${expected} is signed for`;
  const groups = list(spec['groups']).map(text);
  const wanted = ['system:serviceaccounts', `system:serviceaccounts:${namespace}`];
  // Whoever may impersonate a name need not think of the groups that go with it.
  const missing = wanted.find((group) => !groups.includes(group));
  return missing === undefined ? undefined : `expected the group ${missing}`;
}

function boundTo(
  extra: Readonly<Record<string, unknown>>,
): Pick<Candidate, 'node' | 'pod'> | string {
  const found: string[] = [];
  for (const name of ['node-name', 'pod-name', 'pod-uid']) {
    const [value, ...more] = list(extra[`${EXTRA}${name}`]);
    if (typeof value !== 'string' || value === '' || more.length > 0) {
      return `expected a token that is bound to a pod: there is not exactly one ${EXTRA}${name}`;
    }
    found.push(value);
  }
  const [node = '', name = '', uid = ''] = found;
  if (!NODE_NAME.test(node)) return 'the name of the node is none';
  return { node, pod: { name, uid } };
}

/** Milliseconds, or what is wrong with the life that is asked for. */
function lifetime(asked: unknown, { minTtlMs, maxTtlMs }: SigningRules): number | string {
  if (asked === undefined || asked === null) return maxTtlMs;
  const ms = typeof asked === 'number' && Number.isInteger(asked) ? asked * 1000 : NaN;
  if (ms >= minTtlMs && ms <= maxTtlMs) return ms;
  const range = `from ${formatSeconds(minTtlMs)} to ${formatSeconds(maxTtlMs)}`;
  return `expected expirationSeconds ${range}`;
}

/** The request, or what is wrong with it. */
function readRequest(base64: string): CaRequest | string {
  const der = requestDer(base64);
  if (typeof der === 'string') return der;
  try {
    return parseCaRequest(der);
  } catch (thrown) {
    return errorText(thrown);
  }
}

/** The API server takes PEM alone. */
function requestDer(base64: string): Buffer | string {
  if (base64.length > MAX_REQUEST_TEXT) return 'the request is longer than any that is expected';
  const pem = Buffer.from(base64, 'base64').toString('latin1');
  const block = PEM.exec(pem)?.[1];
  if (block === undefined) return 'expected one CERTIFICATE REQUEST in PEM and nothing else';
  return Buffer.from(block, 'base64');
}

/** The identifier of the key that a CertificateSigningRequest is about; undefined when it has none. */
export function keyIdOf(request: unknown): Buffer | undefined {
  const der = requestDer(text(record(record(request)['spec'])['request']));
  return typeof der === 'string' ? undefined : keyIdIn(der);
}

const PEM =
  /^\s*-----BEGIN CERTIFICATE REQUEST-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE REQUEST-----\s*$/;

function contentFault(
  { commonName, organization, uris }: CaRequest,
  node: string,
  trustDomain: TrustDomain,
): Denial | undefined {
  if (commonName !== nodeCommonName(node)) {
    return deny('OtherNode', `expected the common name "${nodeCommonName(node)}"`);
  }
  if (organization !== undefined && organization !== trustDomain) {
    return deny('BadRequest', `expected the organization ${trustDomain}, or none`);
  }
  // X5-24, X5-25.
  const id = trustDomainId(trustDomain);
  if (uris.length !== 1 || uris[0] !== id) {
    return deny('BadRequest', `expected ${id} as the one name that is asked for`);
  }
  return undefined;
}

export function deny(reason: DenialReason, message: string): Denial {
  return { kind: 'deny', reason, message };
}

const formatSeconds = (ms: number) => String(ms / 1000);
