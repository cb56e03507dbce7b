import type { KeyType } from '../issuer/key-type.ts';
import type { TokenChoice } from './config.ts';

/** What the process that holds the module is told once, at its start. */
export interface OpenRequest {
  readonly call: 'open';
  readonly module: string;
  readonly token: TokenChoice;
  readonly pin: { readonly file: string } | { readonly text: string };
  readonly refusedPinFile: string;
  /** Of the keys of this daemon, and of those of its trust domain, of other daemons too. */
  readonly label: string;
  readonly labelOfAll: string;
  /** What new keys are to be. */
  readonly keyType: KeyType;
}

/** What it is asked after that, one after the other; bytes as base64. */
export type KeyRequest =
  | { readonly call: 'generate'; readonly keyType: KeyType }
  | { readonly call: 'find'; readonly id: string; readonly keyType: KeyType }
  | { readonly call: 'sign'; readonly id: string; readonly keyType: KeyType; readonly data: string }
  | { readonly call: 'ids' }
  | { readonly call: 'remove'; readonly id: string };

export type TokenRequest = OpenRequest | KeyRequest;

/** A request on its way: keys are made beside signatures, and answered out of turn. */
export type Numbered<T> = T & { readonly n: number };

/** Texts: bytes as base64, identifiers as hex. */
export type TokenValue = string | readonly string[];

export type TokenReply =
  | { readonly value: TokenValue }
  | {
      readonly error: string;
      readonly hint?: string;
      /** Whether another process, with a session of its own, may have more luck. */
      readonly lost: boolean;
    };

/** Longer than any honest reply: a list of thousands of keys. */
export const MAX_REPLY_BYTES = 1_048_576;
const MAX_TEXT = 500;

/** A reply as it came; undefined for anything else. Texts of errors are cut and made printable. */
export function parseReply(line: string): Numbered<TokenReply> | undefined {
  let read: unknown;
  try {
    read = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof read !== 'object' || read === null) return undefined;
  const { n, value, error, hint, lost } = read as Record<string, unknown>;
  if (typeof n !== 'number') return undefined;
  if (typeof error === 'string') {
    const more = typeof hint === 'string' ? { hint: plain(hint) } : {};
    return { n, error: plain(error), lost: lost === true, ...more };
  }
  if (typeof value === 'string') return { n, value };
  if (Array.isArray(value) && value.every((one) => typeof one === 'string')) return { n, value };
  return undefined;
}

function plain(text: string): string {
  return text.slice(0, MAX_TEXT).replaceAll(/[^\x20-\x7e]/g, '?');
}

/**
 * Cuts a stream into lines. Returns what takes the next chunk; it answers false for a line that is
 * longer than `maxBytes`, after which nothing more should be given.
 */
export function lineReader(
  maxBytes: number,
  onLine: (line: string) => void,
): (chunk: Buffer) => boolean {
  let parts: Buffer[] = [];
  let held = 0;
  return (chunk) => {
    let rest = chunk;
    for (let at = rest.indexOf(10); at >= 0; at = rest.indexOf(10)) {
      if (held + at > maxBytes) return false;
      const line = Buffer.concat([...parts, rest.subarray(0, at)]).toString('utf8');
      [parts, held, rest] = [[], 0, rest.subarray(at + 1)];
      onLine(line);
    }
    if (rest.length > 0) parts.push(rest);
    held += rest.length;
    return held <= maxBytes;
  };
}
