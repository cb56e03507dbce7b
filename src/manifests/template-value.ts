import { shown } from '../core/yaml.ts';
import { fieldOf, type TemplateFacts, type Without } from './template-fields.ts';
import type { Expression, GoTemplate } from './template.ts';

/** What a template gives, or why it gives nothing, or why that cannot be said yet. */
export type Rendered = { readonly kind: 'text'; readonly text: string } | Without;

/** Besides, whether any of it was taken from a pod or a node, rather than written by the operator. */
type Value = { readonly kind: 'text'; readonly text: string; readonly taken: boolean } | Without;

/** More than any SPIFFE ID, DNS name or selector has. */
const MAX_VALUE = 8192;

/**
 * Evaluates a template; never throws, whatever the facts are.
 *
 * @param takenFault what is wrong with a value that was taken from a pod or a node, when something is
 */
export function renderTemplate(
  { parts }: GoTemplate,
  facts: TemplateFacts,
  takenFault: (value: string) => string | undefined = () => undefined,
): Rendered {
  let whole = '';
  let unknown: Rendered | undefined;
  for (const part of parts) {
    const value = evaluate(part, facts);
    // Whatever the others come to.
    if (value.kind === 'none') return value;
    if (value.kind === 'unknown') {
      unknown ??= value;
      continue;
    }
    const fault = value.taken ? takenFault(value.text) : undefined;
    if (fault !== undefined) return none(fault);
    whole += value.text;
    if (whole.length > MAX_VALUE) return tooLong();
  }
  return unknown ?? { kind: 'text', text: whole };
}

function evaluate(expression: Expression, facts: TemplateFacts): Value {
  switch (expression.kind) {
    case 'text':
      return text(expression.value, false);
    case 'field': {
      const field = fieldOf(expression.name);
      const value = field?.type === 'text' ? field.read(facts) : undefined;
      return value === undefined
        ? without(expression.name)
        : bounded(value, expression.name.includes('.'));
    }
    case 'member':
      return member(expression, facts);
    case 'call':
      return call(expression.name, expression.args, facts);
  }
}

function member(
  { map, key, by }: Extract<Expression, { kind: 'member' }>,
  facts: TemplateFacts,
): Value {
  const name = evaluate(key, facts);
  if (name.kind !== 'text') return name;
  const field = fieldOf(map);
  const members = field?.type === 'texts' ? field.read(facts) : undefined;
  if (!members) return without(map);
  const value = members.get(name.text);
  if (value !== undefined) return bounded(value, true);
  return by === 'index' ? text('', true) : none(`.${map} has no ${shown(name.text)}`);
}

function call(name: string, args: readonly Expression[], facts: TemplateFacts): Value {
  const values = args.map((arg) => evaluate(arg, facts));
  if (name === 'default') {
    const [fallback = none('nothing'), given] = values;
    // For what is known not to be there: of the rest nobody knows whether it is.
    if (given?.kind === 'unknown') return given;
    return given?.kind === 'text' && given.text !== '' ? given : fallback;
  }
  const missing =
    values.find(({ kind }) => kind === 'none') ?? values.find(({ kind }) => kind === 'unknown');
  if (missing) return missing;
  const [a = '', b = '', c = ''] = values.map((value) => (value.kind === 'text' ? value.text : ''));
  const taken = values.some((value) => value.kind === 'text' && value.taken);
  switch (name) {
    case 'lower':
      return bounded(a.toLowerCase(), taken);
    case 'upper':
      return bounded(a.toUpperCase(), taken);
    case 'trimPrefix':
      return text(b.startsWith(a) ? b.slice(a.length) : b, taken);
    case 'trimSuffix':
      return text(b.endsWith(a) ? b.slice(0, b.length - a.length) : b, taken);
    case 'replace':
      return replaceAll(a, b, c, taken);
    default:
      return none(`there is no function ${name}`);
  }
}

/** Bounded before it is made: each of many may be ten times as long as the one before. */
function replaceAll(old: string, by: string, within: string, taken: boolean): Value {
  if (old === '') return none('replace: what is to be replaced is empty');
  const parts = within.split(old);
  const length = within.length + (parts.length - 1) * (by.length - old.length);
  return length > MAX_VALUE ? tooLong() : text(parts.join(by), taken);
}

function bounded(value: string, taken: boolean): Value {
  return value.length > MAX_VALUE ? tooLong() : text(value, taken);
}

function text(value: string, taken: boolean): Value {
  return { kind: 'text', text: value, taken };
}

function without(name: string): Without {
  const { kind, reason } = fieldOf(name)?.without ?? none('there is no such field');
  return { kind, reason: `.${name}: ${reason}` };
}

function none(reason: string): Without {
  return { kind: 'none', reason };
}

function tooLong(): Without {
  return none(`it gives more than ${MAX_VALUE} characters`);
}
