import { IdentityError } from '../core/errors.ts';
import {
  faultText,
  kindOf,
  MAX_YAML_BYTES,
  parseYaml,
  parseYamlStream,
  type TextPosition,
  type YamlDocument,
  type YamlPath,
} from '../core/yaml.ts';
import { nearestWord } from '../core/nearest-word.ts';
import { isMapping } from './fields.ts';
import type { ItemText, ListItem } from './entry-list.ts';
import { readJsonItem, splitJsonList } from './json-list.ts';
import { readPlainItem, splitBlockList } from './plain-yaml.ts';

const CODE = { code: 'ERR_POLICY' } as const;

/**
 * The entries of every document in a text, one at a time. Large lists are read item by item; an
 * item that the fast readers do not take goes to the full parser alone, and a text that is no plain
 * list goes to it whole. `report` hears what is wrong above the entries; a syntax error is thrown
 * (`ERR_POLICY`).
 */
export function* readListItems(
  text: string,
  file: string,
  report: (fault: string) => void,
): Generator<ListItem> {
  const json = /^[ \t\r\n]*\{/.test(text);
  const pieces = json ? splitJsonList(text) : splitBlockList(text);
  const read = json ? readJsonItem : readPlainItem;
  // A piece of a block list is a list of one.
  const prefix = json ? [] : [0];
  let done = 0;
  try {
    let step = pieces.next();
    for (; !step.done; step = pieces.next()) {
      const item = readPiece(text, file, step.value, read, prefix);
      done++;
      yield item;
    }
    if (step.value && done > 0) return;
  } catch (thrown) {
    // What is wrong with a piece may be right in the whole: an alias of an earlier anchor.
    if (text.length > MAX_YAML_BYTES) throw thrown;
  }
  // The pieces so far are the same in the whole.
  yield* readWhole(text, file, report).slice(done);
}

function readWhole(
  text: string,
  file: string,
  report: (fault: string) => void,
): readonly ListItem[] {
  if (text.length > MAX_YAML_BYTES) {
    throw new IdentityError(
      'ERR_POLICY',
      `${file}: it has ${text.length} characters, at most ${MAX_YAML_BYTES} are allowed outside of the plain layout`,
      { hint: 'the layout is in docs/policy.md, Size' },
    );
  }
  const documents = parseYamlStream(text, file, CODE);
  if (documents.length === 0) {
    // A file that is just being written looks like this for a moment; nobody means it.
    report(`${file}:1:1: expected the key entries, the file is empty (entries: [] for none)`);
  }
  return documents.flatMap((document) =>
    readDocument(document, (path, expected, which) => {
      report(faultText(file, document.locate(path, which), path, expected));
    }),
  );
}

function readPiece(
  text: string,
  file: string,
  piece: ItemText,
  read: (text: string) => unknown,
  prefix: YamlPath,
): ListItem {
  const { from, to, origin } = piece;
  const own = text.slice(from, to);
  const options = { ...CODE, origin };
  let value = read(own);
  if (value === undefined) {
    const parsed = parseYaml(own, file, options).value;
    value = prefix.length > 0 && Array.isArray(parsed) ? parsed[0] : parsed;
  }
  return {
    value,
    line: origin.line,
    locate: (path, which) => parseYaml(own, file, options).locate([...prefix, ...path], which),
  };
}

function readDocument(
  document: YamlDocument,
  report: (path: YamlPath, expected: string, which?: 'key' | 'value') => void,
): readonly ListItem[] {
  const { value } = document;
  if (!isMapping(value)) {
    report([], `expected a mapping with the key entries, got ${kindOf(value)}`);
    return [];
  }
  const foreign = foreignKind(value);
  if (foreign !== undefined) {
    report([], foreign);
    return [];
  }
  for (const key in value) {
    if (key === 'entries') continue;
    const near = nearestWord(key, ['entries']);
    report([key], `unknown key, ${near ? `did you mean ${near}?` : 'expected entries'}`, 'key');
  }
  const entries = value['entries'];
  if (!Array.isArray(entries)) {
    report(['entries'], `expected a list of entries ([] for none), got ${kindOf(entries)}`);
    return [];
  }
  return entries.map((entry: unknown, n) => {
    const locate = (path: YamlPath, which?: 'key' | 'value'): TextPosition =>
      document.locate(['entries', n, ...path], which);
    return { value: entry, line: locate([]).line, locate };
  });
}

function foreignKind(value: Readonly<Record<string, unknown>>): string | undefined {
  const { apiVersion, kind } = value;
  if (apiVersion === undefined && kind === undefined) return undefined;
  const what = typeof kind === 'string' ? kind.slice(0, 64) : 'this kind';
  if (typeof apiVersion === 'string' && apiVersion.startsWith('spire.spiffe.io/')) {
    return `the Kubernetes manifest ${what} is not supported yet, write its entries as a policy document`;
  }
  return `expected a policy document with the key entries, ${what} is none`;
}
