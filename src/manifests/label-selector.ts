import { kindOf, shown } from '../core/yaml.ts';
import { checkKeys, isMapping, readSection, readText, readTexts, type Section } from './fields.ts';
import type { Texts } from './template-fields.ts';

const OPERATORS = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const;
type Operator = (typeof OPERATORS)[number];

/** One condition on labels. */
export interface Requirement {
  readonly key: string;
  readonly operator: Operator;
  readonly values: readonly string[];
}

/** All of them have to hold; none: everything is selected, as by a selector that is not there. */
export type LabelSelector = readonly Requirement[];

const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/;
const PREFIX = /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/;
/** Nobody writes more, and each is asked of each pod. */
const MAX_REQUIREMENTS = 256;

/** Reads a `LabelSelector` of Kubernetes, by the rules of its API server. */
export function readLabelSelector(from: Section, key: string): LabelSelector {
  const section = readSection(from, key);
  if (!section) return [];
  checkKeys(section, ['matchLabels', 'matchExpressions']);
  const selector = [...readMatchLabels(section), ...readMatchExpressions(section)];
  if (selector.length > MAX_REQUIREMENTS) {
    section.report(section.path, `expected at most ${MAX_REQUIREMENTS} conditions`);
  }
  return selector;
}

/** What labels lack of a selector; empty when it selects them. */
export function unmet(selector: LabelSelector, labels: Texts): readonly Requirement[] {
  return selector.filter((requirement) => !holds(requirement, labels));
}

/** A requirement in the notation of `kubectl --selector`. */
export function requirementText({ key, operator, values }: Requirement): string {
  switch (operator) {
    case 'Exists':
      return key;
    case 'DoesNotExist':
      return `!${key}`;
    case 'In':
      return values.length === 1 ? `${key}=${values[0] ?? ''}` : `${key} in (${values.join(',')})`;
    case 'NotIn':
      return values.length === 1
        ? `${key}!=${values[0] ?? ''}`
        : `${key} notin (${values.join(',')})`;
  }
}

/** A label that is absent is not in any list, and so satisfies `NotIn`. */
function holds({ key, operator, values }: Requirement, labels: Texts): boolean {
  const value = labels.get(key);
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
  }
}

function readMatchLabels(from: Section): readonly Requirement[] {
  const labels = readSection(from, 'matchLabels');
  if (!labels) return [];
  return Object.keys(labels.value).map((key) => {
    checkLabelKey(labels, [key], key);
    const value = readText(labels, key);
    checkLabelValue(labels, [key], value);
    return { key, operator: 'In' as const, values: [value] };
  });
}

function readMatchExpressions({ value, path, report }: Section): readonly Requirement[] {
  const list = value['matchExpressions'] ?? [];
  const at = [...path, 'matchExpressions'];
  if (!Array.isArray(list)) {
    report(at, `expected a list of expressions, got ${kindOf(list)}`);
    return [];
  }
  return list.flatMap((item: unknown, n) => {
    if (isMapping(item)) return readExpression({ value: item, path: [...at, n], report });
    report([...at, n], `expected key, operator and values, got ${kindOf(item)}`);
    return [];
  });
}

function readExpression(from: Section): readonly Requirement[] {
  checkKeys(from, ['key', 'operator', 'values']);
  const { path, report } = from;
  const key = readText(from, 'key');
  checkLabelKey(from, ['key'], key);
  const values = readTexts(from, 'values');
  for (const [n, value] of values.entries()) checkLabelValue(from, ['values', n], value);
  const named = readText(from, 'operator');
  const operator = OPERATORS.find((known) => known === named);
  if (!operator) {
    const expected = `expected one of ${OPERATORS.join(', ')}, got "${shown(named)}"`;
    report([...path, 'operator'], expected);
    return [];
  }
  const takesValues = operator === 'In' || operator === 'NotIn';
  if (takesValues !== values.length > 0) {
    report([...path, 'values'], `${operator} takes ${takesValues ? 'at least one value' : 'none'}`);
  }
  return [{ key, operator, values }];
}

function checkLabelKey({ path, report }: Section, at: readonly string[], key: string): void {
  const slash = key.indexOf('/');
  const sound = NAME.test(key.slice(slash + 1)) && (slash < 0 || PREFIX.test(key.slice(0, slash)));
  if (!sound) {
    report([...path, ...at], `expected the key of a label, got "${shown(key)}"`, 'key');
  }
}

function checkLabelValue(
  { path, report }: Section,
  at: readonly (string | number)[],
  value: string,
): void {
  if (value === '' || NAME.test(value)) return;
  report([...path, ...at], `expected the value of a label, got "${shown(value)}"`);
}
