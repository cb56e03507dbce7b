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
import { isManifest } from '../manifests/manifest.ts';
import { isMapping } from './fields.ts';
import type { ItemText, ListItem } from './entry-list.ts';
import { readJsonItem, splitJsonList } from './json-list.ts';
import { readPlainItem, splitBlockList } from './plain-yaml.ts';

const CODE = { code: 'ERR_POLICY' } as const;

/**
 * The entries and manifests of every document in a text, one at a time. Large lists are read item by item; an
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
    kind: 'entry',
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
  if (isManifest(value)) return readManifests(document, value, report);
  if (!isMapping(value)) {
    report([], `expected a mapping with the key entries, got ${kindOf(value)}`);
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
  return entries.map((entry: unknown, n) => itemAt(document, 'entry', entry, ['entries', n]));
}

/** A manifest, or those of a list as `kubectl get -o yaml` prints it. */
function readManifests(
  document: YamlDocument,
  value: Readonly<Record<string, unknown>>,
  report: (path: YamlPath, expected: string) => void,
): readonly ListItem[] {
  const { kind, items } = value;
  if (typeof kind !== 'string' || !kind.endsWith('List')) {
    return [itemAt(document, 'manifest', value, [])];
  }
  if (!Array.isArray(items)) {
    report(['items'], `expected a list of manifests, got ${kindOf(items)}`);
    return [];
  }
  return items.map((item: unknown, n) => itemAt(document, 'manifest', item, ['items', n]));
}

function itemAt(
  document: YamlDocument,
  kind: ListItem['kind'],
  value: unknown,
  at: YamlPath,
): ListItem {
  const locate = (path: YamlPath, which?: 'key' | 'value'): TextPosition =>
    document.locate([...at, ...path], which);
  return { kind, value, line: locate([]).line, locate };
}
