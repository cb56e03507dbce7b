import { IdentityError } from '../core/errors.ts';

declare const brand: unique symbol;
/** `type:value` as SPIRE writes it, e.g. `unix:uid:1000`; compared as text. */
export type Selector = string & { readonly [brand]: 'Selector' };

const MAX_BYTES = 4096;

/** What is wrong with the text as a selector, or undefined. */
export function selectorFault(text: string): string | undefined {
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_BYTES) return `it has ${bytes} bytes, at most ${MAX_BYTES} are allowed`;
  const colon = text.indexOf(':');
  if (colon < 0) return 'it has no type: write type:value, as in unix:uid:1000';
  if (!/^[a-z][a-z0-9_-]*$/.test(text.slice(0, colon))) return 'its type is not a lower-case word';
  if (colon === text.length - 1) return 'its value is empty';
  return undefined;
}

/** Parses `type:value`; throws `ERR_BAD_REQUEST`. */
export function parseSelector(text: string): Selector {
  const fault = selectorFault(text);
  if (fault) throw new IdentityError('ERR_BAD_REQUEST', `invalid selector "${text}": ${fault}`);
  return text as Selector;
}

/** More than a process has; the bound of a list that somebody typed. */
const MAX_LIST = 4096;

/** Parses `a,b`, without duplicates: no selector of a list holds a comma. Throws `ERR_BAD_REQUEST`. */
export function parseSelectorList(text: string): readonly Selector[] {
  const parts = text.split(',', MAX_LIST + 1);
  if (parts.length > MAX_LIST) {
    throw new IdentityError('ERR_BAD_REQUEST', `more than ${MAX_LIST} selectors`);
  }
  return [...new Set(parts.map((part) => parseSelector(part.trim())))];
}

/** Builds a selector from parts that an attestor vouches for. */
export function selector(type: string, value: string): Selector {
  return `${type}:${value}` as Selector;
}

const ENVIRONMENT = 'docker:env:';

/** As a log may hold them: the environment of a container has passwords in it often enough. */
export function loggable(selectors: readonly Selector[]): readonly string[] {
  return selectors.map((one) =>
    one.startsWith(ENVIRONMENT) ? one.replace(/^(docker:env:[^=]*=).*$/s, '$1[redacted]') : one,
  );
}
