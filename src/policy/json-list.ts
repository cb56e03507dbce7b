import type { TextPosition } from '../core/yaml.ts';
import type { ItemText } from './entry-list.ts';

const [QUOTE, BACKSLASH, COLON, COMMA] = [0x22, 0x5c, 0x3a, 0x2c];
const [OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = [0x7b, 0x7d, 0x5b, 0x5d];
const HEAD = /^[ \t\r\n]*\{[ \t\r\n]*"entries"[ \t\r\n]*:[ \t\r\n]*\[[ \t\r\n]*/;
const TAIL = /^\][ \t\r\n]*\}[ \t\r\n]*$/;

/**
 * Where each object of a JSON document `{"entries": [{...}, ...]}` stands; returns false as soon as
 * the text turns out to be another one. Only brackets and quotes are looked at: `JSON.parse` of
 * each piece decides whether it is JSON.
 */
export function* splitJsonList(text: string): Generator<ItemText, boolean> {
  const head = HEAD.exec(text);
  if (!head) return false;
  const lines = lineCounter(text);
  let at = head[0].length;
  while (text.charCodeAt(at) === OPEN_BRACE) {
    const to = objectEnd(text, at);
    if (to === undefined) return false;
    yield { from: at, to, origin: lines(at) };
    at = skipSpace(text, to);
    if (text.charCodeAt(at) !== COMMA) break;
    at = skipSpace(text, at + 1);
    // A comma promises another object.
    if (text.charCodeAt(at) !== OPEN_BRACE) return false;
  }
  return TAIL.test(text.slice(at));
}

/**
 * The object in an item's text; undefined when it is not JSON or names a key twice, which
 * `JSON.parse` would hide: then there are more colons outside of strings than keys.
 */
export function readJsonItem(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return countKeys(value) === countColons(text) ? value : undefined;
  } catch {
    return undefined;
  }
}

function objectEnd(text: string, from: number): number | undefined {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    const c = text.charCodeAt(at);
    if (c === QUOTE) {
      at = stringEnd(text, at);
      if (at < 0) return undefined;
    } else if (c === OPEN_BRACE || c === OPEN_BRACKET) depth++;
    else if ((c === CLOSE_BRACE || c === CLOSE_BRACKET) && --depth === 0) return at + 1;
  }
  return undefined;
}

/** The index of the closing quote, or -1. */
function stringEnd(text: string, from: number): number {
  for (let at = text.indexOf('"', from + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let back = at - 1;
    while (text.charCodeAt(back) === BACKSLASH) back--;
    if ((at - back) % 2 === 1) return at;
  }
  return -1;
}

function countColons(text: string): number {
  let colons = 0;
  for (let at = 0; at < text.length; at++) {
    const c = text.charCodeAt(at);
    if (c === QUOTE) at = stringEnd(text, at);
    else if (c === COLON) colons++;
  }
  return colons;
}

function countKeys(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  if (Array.isArray(value)) return value.reduce<number>((sum, item) => sum + countKeys(item), 0);
  let keys = 0;
  for (const item of Object.values(value)) keys += 1 + countKeys(item);
  return keys;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  for (;;) {
    const c = text.charCodeAt(at);
    if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return at;
    at++;
  }
}

/** Positions of growing offsets, counted from the one before. */
function lineCounter(text: string): (offset: number) => TextPosition {
  let line = 1;
  let start = 0;
  let newline = text.indexOf('\n');
  return (offset) => {
    while (newline >= 0 && newline < offset) {
      line++;
      start = newline + 1;
      newline = text.indexOf('\n', start);
    }
    return { line, column: offset - start + 1 };
  };
}
