import { shown } from '../core/yaml.ts';
import { fieldOf, type TemplateFacts } from './template-fields.ts';
import type { Expression, GoTemplate } from './template.ts';

/** What a template gives, or why it gives nothing. */
export type Rendered =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'none'; readonly reason: string };

/** More than any SPIFFE ID, DNS name or selector has. */
const MAX_VALUE = 8192;

/** Evaluates a template; never throws, whatever the facts are. */
export function renderTemplate({ parts }: GoTemplate, facts: TemplateFacts): Rendered {
  let whole = '';
  for (const part of parts) {
    const value = evaluate(part, facts);
    if (value.kind === 'none') return value;
    whole += value.text;
    if (whole.length > MAX_VALUE) return tooLong();
  }
  return text(whole);
}

function evaluate(expression: Expression, facts: TemplateFacts): Rendered {
  switch (expression.kind) {
    case 'text':
      return text(expression.value);
    case 'field': {
      const field = fieldOf(expression.name);
      const value = field?.type === 'text' ? field.read(facts) : undefined;
      return value === undefined
        ? none(`.${expression.name}: ${field?.absent ?? 'there is no such field'}`)
        : bounded(value);
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
): Rendered {
  const name = evaluate(key, facts);
  if (name.kind === 'none') return name;
  const field = fieldOf(map);
  const members = field?.type === 'texts' ? field.read(facts) : undefined;
  if (!members) return none(`.${map}: ${field?.absent ?? 'there is no such field'}`);
  const value = members.get(name.text);
  if (value !== undefined) return bounded(value);
  return by === 'index' ? text('') : none(`.${map} has no ${shown(name.text)}`);
}

function call(name: string, args: readonly Expression[], facts: TemplateFacts): Rendered {
  const values = args.map((arg) => evaluate(arg, facts));
  if (name === 'default') {
    const [fallback = none('nothing'), given] = values;
    return given?.kind === 'text' && given.text !== '' ? given : fallback;
  }
  const missing = values.find((value) => value.kind === 'none');
  if (missing) return missing;
  const [a = '', b = '', c = ''] = values.map((value) => (value.kind === 'text' ? value.text : ''));
  switch (name) {
    case 'lower':
      return bounded(a.toLowerCase());
    case 'upper':
      return bounded(a.toUpperCase());
    case 'trimPrefix':
      return text(b.startsWith(a) ? b.slice(a.length) : b);
    case 'trimSuffix':
      return text(b.endsWith(a) ? b.slice(0, b.length - a.length) : b);
    case 'replace':
      return replaceAll(a, b, c);
    default:
      return none(`there is no function ${name}`);
  }
}

/** Bounded before it is made: each of many may be ten times as long as the one before. */
function replaceAll(old: string, by: string, within: string): Rendered {
  if (old === '') return none('replace: what is to be replaced is empty');
  const parts = within.split(old);
  const length = within.length + (parts.length - 1) * (by.length - old.length);
  return length > MAX_VALUE ? tooLong() : text(parts.join(by));
}

function bounded(value: string): Rendered {
  return value.length > MAX_VALUE ? tooLong() : text(value);
}

function text(value: string): Rendered {
  return { kind: 'text', text: value };
}

function none(reason: string): Rendered {
  return { kind: 'none', reason };
}

function tooLong(): Rendered {
  return none(`it gives more than ${MAX_VALUE} characters`);
}
