import { IdentityError } from '../core/errors.ts';

/** A piece of what stands between `{{` and `}}`. */
export interface Token {
  readonly kind: 'field' | 'word' | 'text' | '(' | ')' | '|';
  /** Of a text what it stands for, of a field without its first dot. */
  readonly value: string;
  /** Offset in the template. */
  readonly at: number;
}

/** A template cut into what is written as it stands and what is evaluated. */
export type Piece =
  | { readonly kind: 'literal'; readonly text: string }
  | { readonly kind: 'action'; readonly tokens: readonly Token[]; readonly at: number };

/** No manifest has a longer one; it bounds the work for any. */
export const MAX_TEMPLATE = 4096;

const SPACE = /^[ \t\r\n]+/;
const FIELD = /^\.[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*/;
const WORD = /^[A-Za-z_]\w*/;
const QUOTED = /^"(?:[^"\\\n]|\\[^\n])*"/;
const RAW = /^`[^`]*`/;
const END = /^(?:[ \t\r\n]+-)?\}\}/;
const COMMENT = /^\/\*[\s\S]*?\*\/(?=(?:[ \t\r\n]+-)?\}\})/;
const ESCAPES: Readonly<Record<string, string>> = {
  '\\': '\\',
  '"': '"',
  n: '\n',
  t: '\t',
  r: '\r',
};

/**
 * Cuts a text in Go's template syntax: actions, `{{-` and `-}}` that take white space away, comments.
 * Throws `ERR_POLICY` with `line:column: what was expected`.
 */
export function cutTemplate(text: string): readonly Piece[] {
  if (text.length > MAX_TEMPLATE) {
    fail(text, 0, `it has ${text.length} characters, at most ${MAX_TEMPLATE} are allowed`);
  }
  const pieces: Piece[] = [];
  let trimNext = false;
  const literal = (part: string, trimEnd: boolean) => {
    const begun = trimNext ? part.replace(SPACE, '') : part;
    const kept = trimEnd ? trimmedEnd(begun) : begun;
    if (kept !== '') pieces.push({ kind: 'literal', text: kept });
  };
  let from = 0;
  for (let open = text.indexOf('{{'); open >= 0; open = text.indexOf('{{', from)) {
    const trims = /^\{\{-[ \t\r\n]/.test(text.slice(open, open + 4));
    literal(text.slice(from, open), trims);
    const action = readAction(text, open, open + (trims ? 3 : 2));
    if (action.tokens) pieces.push({ kind: 'action', tokens: action.tokens, at: open });
    trimNext = action.trims;
    from = action.end;
  }
  literal(text.slice(from), false);
  return pieces;
}

/** Ends with a fault at this place of the template; both numbers count from 1. */
export function fail(text: string, at: number, reason: string): never {
  const before = text.slice(0, at).split('\n');
  const column = (before.at(-1)?.length ?? 0) + 1;
  throw new IdentityError('ERR_POLICY', `${before.length}:${column}: ${reason}`);
}

function readAction(text: string, open: number, start: number) {
  const tokens: Token[] = [];
  let at = start;
  const eat = (form: RegExp): string | undefined => {
    const [found] = form.exec(text.slice(at)) ?? [];
    at += found?.length ?? 0;
    return found;
  };
  // Go allows a comment alone, and nothing before it but the sign that trims.
  const before = at;
  if (start > open + 2) eat(SPACE);
  const comment = eat(COMMENT) !== undefined;
  if (!comment) at = before;
  for (;;) {
    const end = eat(END);
    if (end !== undefined) {
      return { tokens: comment ? undefined : tokens, end: at, trims: end.includes('-') };
    }
    if (eat(SPACE) !== undefined) continue;
    if (at >= text.length) fail(text, open, 'this {{ has no }}');
    tokens.push(readToken(text, at, eat));
  }
}

function readToken(text: string, at: number, eat: (form: RegExp) => string | undefined): Token {
  const field = eat(FIELD);
  if (field !== undefined) return { kind: 'field', value: field.slice(1), at };
  const word = eat(WORD);
  if (word !== undefined) return { kind: 'word', value: word, at };
  const quoted = eat(QUOTED);
  if (quoted !== undefined) return { kind: 'text', value: unquote(text, quoted, at), at };
  const raw = eat(RAW);
  if (raw !== undefined) return { kind: 'text', value: raw.slice(1, -1), at };
  const sign = eat(/^[()|]/);
  if (sign === '(' || sign === ')' || sign === '|') return { kind: sign, value: sign, at };
  return fail(text, at, unknown(text.charAt(at)));
}

function unquote(text: string, quoted: string, at: number): string {
  return quoted.slice(1, -1).replace(/\\(.)/g, (whole, letter: string, offset: number) => {
    const meant = Object.hasOwn(ESCAPES, letter) ? ESCAPES[letter] : undefined;
    return meant ?? fail(text, at + 1 + offset, `the escape ${whole} is not supported`);
  });
}

function unknown(character: string): string {
  if (character === '"' || character === '`') return 'this text has no end';
  if (character === '$') return 'variables are not supported';
  if (/[0-9+-]/.test(character)) return 'numbers are not supported';
  if (character === '.') return 'expected a field such as .PodMeta.Name after the dot';
  return 'expected a field, a function, a text in quotes, a parenthesis or |';
}

function trimmedEnd(text: string): string {
  let end = text.length;
  while (end > 0 && SPACE.test(text.charAt(end - 1))) end--;
  return text.slice(0, end);
}
