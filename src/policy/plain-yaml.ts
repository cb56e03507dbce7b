import type { ItemText } from './entry-list.ts';

/**
 * Reads the layout that nearly every policy file has - `entries:`, then a block list of flat
 * mappings of words and lists of words - about forty times faster than the full parser, which
 * reads everything else. What it accepts is a strict subset of YAML 1.2 with the same values
 * (plain-yaml.test.ts holds it to that); at the first doubt it says undefined.
 */

/** Lines before the list: blank, comments, one document marker. */
const HEAD_BLANK = /^(?: *(?:#[^\r]*)?|--- *)$/;
const HEAD = /^entries: *(?:#[^\r]*)?$/;
const BLANK = /^ *(?:#[^\r]*)?$/;
const FIELD = /^ *(?:- )?([a-z][a-z0-9_]{0,63}):(?: +([^\r]*))?$/;
const ELEMENT = /^ *- ([^\r]*)$/;

/** A scalar that needs no thought: plain word, quoted without escapes, whole number, boolean. */
const WORD = '[A-Za-z](?:[A-Za-z0-9_./:@{}=+~*,-]*[A-Za-z0-9_./@{}=+~*,-])?';
const FLOW_WORD = '[A-Za-z](?:[A-Za-z0-9_./:@=+~*-]*[A-Za-z0-9_./@=+~*-])?';
const QUOTED = `"[ !#-\\[\\]-~]*"|'[ -&(-~]*'`;
/** A whole number, or a duration: text, since the core schema knows no number that ends so. */
const NUMBER = '0|-?[1-9][0-9]{0,14}(?:ms|[smhd])?';
const SCALAR = new RegExp(`^(${WORD}|${QUOTED}|${NUMBER}) *(?: #.*)?$`);
const FLOW_OPEN = /^\[ */;
const FLOW_ITEM = new RegExp(`(${FLOW_WORD}|${QUOTED}|${NUMBER}) *([,\\]]) *`, 'y');
const FLOW_CLOSE = /^(?:#.*)?$/;
/** Words that the core schema (YAML 1.2.2 10.3.2) does not read as text. */
const RESERVED = /^(?:null|Null|NULL|true|True|TRUE|false|False|FALSE)$/;

/**
 * Where each item of the list stands; returns false as soon as the text turns out not to be one
 * document of one key, `entries`, with a block list. A line at the list's indentation cannot be
 * inside an item: block scalars and continued lines have to be indented further (YAML 1.2.2 8.1,
 * 7.3).
 */
export function* splitBlockList(text: string): Generator<ItemText, boolean> {
  let line = 0;
  let inList = false;
  let indent = -1;
  let open: { from: number; line: number } | undefined;
  for (let from = 0; from < text.length;) {
    const newline = text.indexOf('\n', from);
    const end = newline < 0 ? text.length : newline;
    line++;
    if (!inList) {
      const head = text.slice(from, end);
      if (HEAD.test(head)) inList = true;
      else if (!HEAD_BLANK.test(head)) return false;
    } else {
      const at = skipSpaces(text, from, end);
      const isItem = text[at] === '-' && (at + 1 === end || text[at + 1] === ' ');
      if (isItem && indent < 0) indent = at - from;
      if (isItem && at - from === indent) {
        if (open) yield itemText(open, from);
        open = { from, line };
      } else if (at < end && text[at] !== '#' && (!open || at - from <= indent)) {
        return false;
      }
    }
    from = end + 1;
  }
  if (open) yield itemText(open, text.length);
  return open !== undefined;
}

/** The value of one item's text, when it is in the plain layout. */
export function readPlainItem(text: string): Readonly<Record<string, unknown>> | undefined {
  const item: Record<string, unknown> = {};
  let indent = -1;
  let list: { readonly values: unknown[]; indent: number } | undefined;
  for (let from = 0; from < text.length;) {
    const newline = text.indexOf('\n', from);
    const end = newline < 0 ? text.length : newline;
    const line = text.slice(from, end);
    from = end + 1;
    const at = skipSpaces(line, 0, line.length);
    const first = indent < 0;
    if (first) indent = at + 2;
    else if (at === line.length || line[at] === '#') {
      if (BLANK.test(line)) continue;
      return undefined;
    } else if (line[at] === '-') {
      // A list may stand as deep as its key, or deeper (YAML 1.2.2 8.2.2).
      if (!list || at < indent || (list.indent >= 0 && at !== list.indent)) return undefined;
      list.indent = at;
      const value = readScalar(ELEMENT.exec(line)?.[1]);
      if (value === undefined) return undefined;
      list.values.push(value);
      continue;
    } else if (at !== indent) return undefined;
    if (list?.values.length === 0) return undefined;
    list = undefined;
    const field = FIELD.exec(line);
    const key = field?.[1];
    if (key === undefined || Object.hasOwn(item, key)) return undefined;
    // Nothing after the colon but a comment is a null or a list to come.
    if (field?.[2] === undefined || BLANK.test(field[2])) {
      list = { values: [], indent: -1 };
      item[key] = list.values;
    } else {
      const value = readScalar(field[2]) ?? readFlowList(field[2]);
      if (value === undefined) return undefined;
      item[key] = value;
    }
  }
  return list?.values.length === 0 ? undefined : item;
}

function readScalar(text: string | undefined): string | number | boolean | undefined {
  const scalar = text === undefined ? undefined : SCALAR.exec(text)?.[1];
  return scalar === undefined ? undefined : scalarValue(scalar);
}

function readFlowList(text: string): readonly unknown[] | undefined {
  const values: unknown[] = [];
  FLOW_ITEM.lastIndex = FLOW_OPEN.exec(text)?.[0].length ?? text.length;
  for (let end = ','; end === ',';) {
    const match = FLOW_ITEM.exec(text);
    const value = match?.[1] === undefined ? undefined : scalarValue(match[1]);
    if (value === undefined) return undefined;
    values.push(value);
    end = match?.[2] ?? '';
  }
  // A comment has to stand apart from the bracket.
  const rest = FLOW_ITEM.lastIndex;
  const apart = rest === text.length || text[rest - 1] === ' ';
  return apart && FLOW_CLOSE.test(text.slice(rest)) ? values : undefined;
}

function scalarValue(text: string): string | number | boolean | undefined {
  const first = text.charCodeAt(0);
  if (first === 0x22 || first === 0x27) return text.slice(1, -1);
  if (first <= 0x39) return text.charCodeAt(text.length - 1) <= 0x39 ? Number(text) : text;
  if (!RESERVED.test(text)) return text;
  if (text.length > 5 || /^n/i.test(text)) return undefined;
  return /^t/i.test(text);
}

function skipSpaces(text: string, from: number, end: number): number {
  let at = from;
  while (at < end && text.charCodeAt(at) === 0x20) at++;
  return at;
}

function itemText(open: { from: number; line: number }, to: number): ItemText {
  return { from: open.from, to, origin: { line: open.line, column: 1 } };
}
