import { nearestWord } from '../core/nearest-word.ts';
import { shown } from '../core/yaml.ts';
import { FIELD_NAMES, fieldOf } from './template-fields.ts';
import { cutTemplate, fail, type Token } from './template-tokens.ts';

/** What has a text as its value; plain data, so that it crosses to another thread. */
export type Expression =
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'field'; readonly name: string }
  /** A member of a map. Without it `index` gives the empty text, a field nothing at all, as in Go. */
  | {
      readonly kind: 'member';
      readonly map: string;
      readonly key: Expression;
      readonly by: 'index' | 'field';
    }
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Expression[] };

/** A template that was understood, in the order of its text. */
export interface GoTemplate {
  readonly text: string;
  readonly parts: readonly Expression[];
}

/** Functions of texts and the number of those that they take; the piped one comes last. */
const FUNCTIONS: Readonly<Record<string, number>> = {
  default: 2,
  lower: 1,
  upper: 1,
  trimPrefix: 2,
  trimSuffix: 2,
  replace: 3,
};
const KNOWN = ['index', ...Object.keys(FUNCTIONS)];
const CONTROL = ['if', 'else', 'end', 'range', 'with', 'define', 'template', 'block', 'break'];
/** Deeper than anybody writes; the parser calls itself. */
const MAX_DEPTH = 32;

/**
 * Parses the part of Go's template language that such manifests use. Throws `ERR_POLICY`, whose
 * message begins with line and column in the template, for anything else.
 */
export function parseGoTemplate(text: string): GoTemplate {
  const parts = cutTemplate(text).map((piece): Expression => {
    if (piece.kind === 'literal') return { kind: 'text', value: piece.text };
    return new Parser(text, piece.tokens, piece.at).whole();
  });
  return { text, parts };
}

/** The text of a template without actions, which is the same for everybody. */
export function constantOf({ parts }: GoTemplate): string | undefined {
  let whole = '';
  for (const part of parts) {
    if (part.kind !== 'text') return undefined;
    whole += part.value;
  }
  return whole;
}

/** Names of all fields that a template takes its values from. */
export function fieldsOf({ parts }: GoTemplate): ReadonlySet<string> {
  const names = new Set<string>();
  const walk = (expression: Expression): void => {
    if (expression.kind === 'field') names.add(expression.name);
    if (expression.kind === 'call') expression.args.forEach(walk);
    if (expression.kind === 'member') {
      names.add(expression.map);
      walk(expression.key);
    }
  };
  parts.forEach(walk);
  return names;
}

/** While it is parsed a value may also be a map, which only `index` takes. */
type Value = Expression | { readonly kind: 'map'; readonly name: string };

class Parser {
  readonly #text: string;
  readonly #tokens: readonly Token[];
  readonly #at: number;
  #next = 0;
  #depth = 0;

  constructor(text: string, tokens: readonly Token[], at: number) {
    this.#text = text;
    this.#tokens = tokens;
    this.#at = at;
  }

  whole(): Expression {
    const value = this.#pipeline();
    const rest = this.#tokens[this.#next];
    if (rest) this.#fail(rest, `unexpected ${rest.value}`);
    return this.#textual(value, this.#tokens[0]);
  }

  #pipeline(): Value {
    if (++this.#depth > MAX_DEPTH) this.#fail(this.#peek(), 'it is nested too deeply');
    let value = this.#command(undefined);
    while (this.#peek()?.kind === '|') {
      this.#next++;
      value = this.#command(value);
    }
    this.#depth--;
    return value;
  }

  #command(piped: Value | undefined): Value {
    const first = this.#peek();
    if (first?.kind === 'word') {
      this.#next++;
      const args: { value: Value; token: Token }[] = [];
      for (let token = this.#peek(); token && isOperand(token); token = this.#peek()) {
        args.push({ value: this.#operand(token), token });
      }
      if (piped) args.push({ value: piped, token: first });
      return this.#call(first, args);
    }
    if (!first || !isOperand(first)) {
      return this.#fail(first, 'expected a value such as .PodMeta.Name');
    }
    if (piped) this.#fail(first, 'expected a function after |');
    const value = this.#operand(first);
    const more = this.#peek();
    if (more && isOperand(more)) this.#fail(more, 'expected | or }} after a value');
    return value;
  }

  #operand(token: Token): Value {
    this.#next++;
    if (token.kind === 'text') return { kind: 'text', value: token.value };
    if (token.kind === 'field') return this.#field(token);
    if (token.kind === 'word') return this.#fail(token, `put ${token.value} in parentheses`);
    const value = this.#pipeline();
    if (this.#peek()?.kind !== ')') this.#fail(token, 'this ( has no )');
    this.#next++;
    const after = this.#peek();
    if (after?.kind === 'field' && this.#text.charAt(after.at - 1) === ')') {
      this.#fail(after, 'fields of what stands in parentheses are not supported');
    }
    return value;
  }

  #field(token: Token): Value {
    const whole = fieldOf(token.value);
    if (whole?.type === 'texts') return { kind: 'map', name: token.value };
    if (whole) return { kind: 'field', name: token.value };
    const dot = token.value.lastIndexOf('.');
    const map = token.value.slice(0, Math.max(dot, 0));
    if (fieldOf(map)?.type === 'texts') {
      const key = { kind: 'text', value: token.value.slice(dot + 1) } as const;
      return { kind: 'member', map, key, by: 'field' };
    }
    const near = nearestWord(token.value, FIELD_NAMES);
    const help = near ? `did you mean .${near}?` : `there are ${dotted(FIELD_NAMES)}`;
    return this.#fail(token, `.${shown(token.value)} is not supported, ${help}`);
  }

  #call(token: Token, args: readonly { value: Value; token: Token }[]): Expression {
    const name = token.value;
    if (name === 'index') return this.#index(token, args);
    const arity = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined;
    if (arity === undefined) return this.#fail(token, unknownWord(name));
    if (args.length !== arity) {
      this.#fail(token, `${name} takes ${count(arity)}, got ${args.length}`);
    }
    return { kind: 'call', name, args: args.map((arg) => this.#textual(arg.value, arg.token)) };
  }

  #index(token: Token, args: readonly { value: Value; token: Token }[]): Expression {
    const [map, key] = args;
    if (map?.value.kind !== 'map' || !key || args.length !== 2) {
      return this.#fail(token, 'expected index .PodMeta.Labels "key": a map and one key');
    }
    return {
      kind: 'member',
      map: map.value.name,
      key: this.#textual(key.value, key.token),
      by: 'index',
    };
  }

  #textual(value: Value, token: Token | undefined): Expression {
    if (value.kind !== 'map') return value;
    return this.#fail(token, `.${value.name} is a map, take one of it: index .${value.name} "key"`);
  }

  #peek(): Token | undefined {
    return this.#tokens[this.#next];
  }

  #fail(token: Token | undefined, reason: string): never {
    return fail(this.#text, token?.at ?? this.#at, reason);
  }
}

function isOperand({ kind }: Token): boolean {
  return kind === 'field' || kind === 'text' || kind === '(' || kind === 'word';
}

function unknownWord(word: string): string {
  if (CONTROL.includes(word)) return `${word} is not supported: values only, no control structures`;
  const near = nearestWord(word, KNOWN);
  const help = near ? `did you mean ${near}?` : `there are ${KNOWN.join(', ')}`;
  return `the function ${shown(word)} is not supported, ${help}`;
}

function count(n: number): string {
  return n === 1 ? 'one value' : `${n} values`;
}

function dotted(names: readonly string[]): string {
  return names.map((name) => `.${name}`).join(', ');
}
