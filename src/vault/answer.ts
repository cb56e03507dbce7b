/** Reads of a document that somebody else wrote: whatever is not as expected counts as absent. */
export type Fields = Readonly<Record<string, unknown>>;

/** What Vault answered: the parts of its envelope that anybody here reads. */
export interface VaultAnswer {
  readonly data: Fields;
  /** Of a login or a renewal. */
  readonly auth: Fields;
  readonly warnings: readonly string[];
}

/** What a request was answered with that is no success. */
export class VaultRefusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = 'VaultRefusal';
    this.status = status;
  }
}

/** What the status says where nothing else does ("HTTP status codes" of the API's documentation). */
const MEANING: Readonly<Record<number, string>> = {
  400: 'the request is invalid',
  403: 'permission denied',
  404: 'there is no such path, or this token may not know of it',
  405: 'the path does not take such a request',
  412: 'it has not caught up with a change yet',
  429: 'it is asked too often, or a standby',
  472: 'it is a secondary for disaster recovery',
  473: 'it is a performance standby',
  501: 'it is not initialised',
  502: 'what is behind it has failed',
  503: 'it is sealed, or down for maintenance',
};
const MAX_TEXT = 300;
/** Shorter ones would blot out what the message is for. */
const MIN_SECRET = 4;

/** The document of an answer; undefined when it is no JSON object. */
export function readAnswer(bytes: Buffer): VaultAnswer | undefined {
  const fields = parse(bytes);
  if (!fields) return undefined;
  return {
    data: record(fields['data']),
    auth: record(fields['auth']),
    warnings: texts(fields['warnings']),
  };
}

/** Why it was no success, in one line without any of the secrets, which a proxy might send back. */
export function refusalText(status: number, bytes: Buffer, secrets: readonly string[]): string {
  const fields = parse(bytes);
  const said = fields ? texts(fields['errors']).join('; ') : bytes.toString('utf8');
  return printable(said, secrets) || MEANING[status] || 'without a reason';
}

/** A text of others as a message may have it: one line, bounded, none of the secrets. */
export function printable(text: string, secrets: readonly string[]): string {
  const clean = secrets
    .filter((secret) => secret.length >= MIN_SECRET)
    .reduce((rest, secret) => rest.replaceAll(secret, '[redacted]'), text)
    .replace(/[^\x20-\x7e]+/g, ' ')
    .replace(/ {2,}/g, ' ')
    .trim();
  return clean.length > MAX_TEXT ? `${clean.slice(0, MAX_TEXT)}…` : clean;
}

/** The members of an object; of anything else, none. */
export function record(value: unknown): Fields {
  return isObject(value) ? value : {};
}

/** The texts of a list. */
export function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];
}

function parse(bytes: Buffer): Fields | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
