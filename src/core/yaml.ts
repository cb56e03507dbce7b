import {
  isAlias,
  isCollection,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseAllDocuments,
  visit,
} from 'yaml';
import type { Document, Node, ParsedNode, Range, YAMLError } from 'yaml';
import { errorText, IdentityError } from './errors.ts';

/** Where something stands in a file; both count from 1. */
export interface TextPosition {
  readonly line: number;
  readonly column: number;
}

/** Keys and indexes from the top of a document down to one value. */
export type YamlPath = readonly (string | number)[];

/** One document as plain values (YAML 1.2 core schema), with the way back to its text. */
export interface YamlDocument {
  readonly value: unknown;
  /**
   * Where the value at `path` stands, or its key; the nearest enclosing thing when the path does
   * not exist.
   */
  locate(path: YamlPath, which?: 'key' | 'value'): TextPosition;
}

/** Names the errors of the caller's kind of file and bounds its size. */
export interface YamlOptions {
  readonly code: 'ERR_CONFIG' | 'ERR_POLICY';
  /** Default `MAX_YAML_BYTES`. */
  readonly maxBytes?: number;
  /** Where the text begins in its file, when it is a piece of one; default 1:1. */
  readonly origin?: TextPosition;
}

/** The parser takes about 60 times the text's size in memory while it works. */
export const MAX_YAML_BYTES = 8 * 1024 * 1024;
/** Aliases in a document, and what one of them may unfold to: far too few for a bomb. */
const MAX_ALIASES = 100;

/**
 * Parses a text of exactly one YAML (or JSON) document; an empty one has the value null.
 * Throws `options.code`, and nothing else, with `file:line:column`.
 */
export function parseYaml(
  input: string | Uint8Array,
  file: string,
  options: YamlOptions,
): YamlDocument {
  const [first, second] = parseYamlStream(input, file, options);
  if (!first) return { value: null, locate: () => ({ line: 1, column: 1 }) };
  if (second) {
    const at = second.locate([]);
    throw new IdentityError(options.code, faultText(file, at, [], 'only one document is allowed'));
  }
  return first;
}

/** Parses a text of any number of documents, divided by `---`; empty ones are left out. */
export function parseYamlStream(
  input: string | Uint8Array,
  file: string,
  options: YamlOptions,
): readonly YamlDocument[] {
  const text = decodeText(input, file, options);
  const lines = new LineCounter();
  try {
    const stream = parseAllDocuments(text, {
      lineCounter: lines,
      version: '1.2',
      schema: 'core',
      merge: false,
      stringKeys: true,
      // The library compares every key with every other one; `checkNodes` does it in linear time.
      uniqueKeys: false,
      prettyErrors: false,
      logLevel: 'silent',
    });
    const documents = 'empty' in stream ? [] : stream;
    return documents
      .map((document) => toPlain(document, { text, file, lines }, options))
      .filter((document) => document.value !== null);
  } catch (thrown) {
    if (thrown instanceof IdentityError) throw thrown;
    // A RangeError of the recursive composer, or an alias bomb: the file's fault, never the daemon's.
    const reason = thrown instanceof RangeError ? 'it is nested too deeply' : errorText(thrown);
    throw new IdentityError(options.code, `${file}: ${lowerFirst(reason)}`, { cause: thrown });
  }
}

/** Bytes as text: bounded, UTF-8 only, without a byte order mark. Throws `options.code`. */
export function decodeText(input: string | Uint8Array, file: string, options: YamlOptions): string {
  const limit = options.maxBytes ?? MAX_YAML_BYTES;
  if (input.length > limit) {
    throw new IdentityError(
      options.code,
      `${file}: it has ${input.length} bytes, at most ${limit} are allowed`,
    );
  }
  if (typeof input === 'string') return input;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(input);
  } catch (thrown) {
    throw new IdentityError(options.code, `${file}: it is not UTF-8 text`, { cause: thrown });
  }
}

/**
 * The one form of a complaint about a file: `file:line:column: key: what was expected`. One line of
 * bounded length, whatever the file holds.
 */
export function faultText(
  file: string,
  at: TextPosition,
  path: YamlPath,
  expectation: string,
): string {
  const place = `${file}:${at.line}:${at.column}`;
  return `${place}: ${withPath(shown(expectation, MAX_EXPECTATION), path)}`;
}

/** What is said of a key, with the key before it. */
export function withPath(message: string, path: YamlPath): string {
  return path.length === 0 ? message : `${pathText(path)}: ${message}`;
}

/** A path as people write it: `entries[3].spiffe_id`. */
export function pathText(path: YamlPath): string {
  return path
    .map((step, n) =>
      typeof step === 'number' ? `[${step}]` : `${n === 0 ? '' : '.'}${shown(step)}`,
    )
    .join('');
}

/** Of a name or value out of a file, as a complaint quotes it. */
const MAX_SHOWN = 64;
/** Long enough for a list of all keys, or for the path of another file. */
const MAX_EXPECTATION = 1024;
/** What steers a terminal, breaks a line, hides or turns the direction of writing. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** A text of a file's author as a complaint may quote it: shortened, on one line, harmless. */
export function shown(text: string, maxLength = MAX_SHOWN): string {
  // Not between the halves of a character.
  const end = /[\uD800-\uDBFF]/.test(text.charAt(maxLength - 1)) ? maxLength - 1 : maxLength;
  const short = text.length > maxLength ? `${text.slice(0, end)}…` : text;
  return short.replace(UNPRINTABLE, escaped);
}

function escaped(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}

/** A value's kind in the words of a complaint: `a list`, `5`, `nothing`. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (typeof value === 'string') return 'a text';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return `a ${typeof value}`;
}

function toPlain(
  document: Document.Parsed,
  { text, file, lines }: { text: string; file: string; lines: LineCounter },
  options: YamlOptions,
): YamlDocument {
  const at = (offset: number): TextPosition => {
    const { line, col } = lines.linePos(offset);
    return shift({ line: Math.max(line, 1), column: Math.max(col, 1) }, options.origin);
  };
  const fail = (offset: number, reason: string): never => {
    throw new IdentityError(options.code, faultText(file, at(offset), [], lowerFirst(reason)));
  };
  // Warnings are unknown tags and directives: what is not understood is not ignored.
  const fault = [...document.errors, ...document.warnings].sort((a, b) => a.pos[0] - b.pos[0])[0];
  if (fault) fail(fault.pos[0], wordsOf(fault, text));
  checkNodes(document, fail);
  return {
    value: document.toJS({ maxAliasCount: MAX_ALIASES }) as unknown,
    locate: (path, which = 'value') => at(offsetOf(document, path, which)),
  };
}

/** The parser's words for a key that is none say nothing of what is nearly always the matter. */
function wordsOf({ code, message, pos: [at] }: YAMLError, text: string): string {
  if (code === 'NON_STRING_KEY') {
    // To YAML a mapping whose key is another one.
    return text.startsWith('{{', at - 1)
      ? "put the whole value into quotes, as '{{ … }}': without them a template is a mapping to YAML"
      : 'a key has to be a text';
  }
  const isKey = code === 'MULTILINE_IMPLICIT_KEY' || message.startsWith('Implicit map keys');
  return isKey
    ? `${message}: expected \`key: value\`, is a colon or the space after it missing?`
    : message;
}

/** Duplicate keys and `<<` are errors: either can hide what an entry really says. */
function checkNodes(document: Document.Parsed, fail: (offset: number, reason: string) => never) {
  const anchors = new Set<string>();
  let aliases = 0;
  visit(document, {
    Value(_, node) {
      if (node.anchor !== undefined) anchors.add(node.anchor);
    },
    Alias(_, alias, path) {
      const offset = alias.range?.[0] ?? 0;
      if (path.some((node) => isCollection(node) && node.anchor === alias.source)) {
        fail(offset, `*${shown(alias.source)} stands inside what it stands for`);
      }
      if (!anchors.has(alias.source))
        fail(offset, `there is no anchor &${shown(alias.source)} before it`);
      if (++aliases > MAX_ALIASES) fail(offset, `at most ${MAX_ALIASES} aliases are allowed`);
    },
    Map(_, map) {
      if (map.anchor !== undefined) anchors.add(map.anchor);
      const seen = new Set<unknown>();
      for (const { key } of map.items) {
        const offset = isNode(key) ? (key.range?.[0] ?? 0) : 0;
        const name = isScalar(key) ? key.value : undefined;
        if (name === '<<') fail(offset, 'merge keys (<<) are not allowed');
        if (seen.has(name)) fail(offset, `the key "${shown(String(name))}" is there twice`);
        seen.add(name);
      }
    },
  });
}

function offsetOf(document: Document.Parsed, path: YamlPath, which: 'key' | 'value'): number {
  let node: Node | null = document.contents;
  let offset = startOf(node, document.range);
  for (const [depth, step] of path.entries()) {
    const last = depth === path.length - 1;
    if (isAlias(node)) node = node.resolve(document) ?? null;
    let next: unknown;
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && key.value === step);
      if (!pair) return offset;
      next = pair.value;
      offset = startOf(pair.key as ParsedNode | null, document.range);
      if (last && which === 'key') return offset;
    } else if (isSeq(node)) {
      next = node.items[Number(step)];
    }
    if (!isNode(next)) return offset;
    node = next;
    offset = node.range?.[0] ?? offset;
  }
  return offset;
}

function startOf(node: Node | null, fallback: Range): number {
  return node?.range?.[0] ?? fallback[0];
}

function shift(at: TextPosition, origin: TextPosition | undefined): TextPosition {
  if (!origin) return at;
  const column = at.line === 1 ? origin.column + at.column - 1 : at.column;
  return { line: origin.line + at.line - 1, column };
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1).replace(/\.$/, '');
}
