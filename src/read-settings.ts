import convict from 'convict';
import { IdentityError } from './core/errors.ts';
import { nearestWord } from './core/nearest-word.ts';
import { faultText, kindOf, type YamlDocument } from './core/yaml.ts';
import type { Setting } from './setting-formats.ts';
import { environmentName, SETTINGS } from './settings.ts';
import { PIN_VARIABLE } from './settings-token.ts';

/** The variables of the process, or those of a test. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The value of every setting, by its key. */
export type Values = convict.Config<Record<string, unknown>>;

/** Takes down a fault of the value that counts: names its variable, or file, line and key. */
export type Complain = (key: string, expectation: string) => void;

/** What a file and an environment say, and all that is wrong with each setting on its own. */
export interface Settings {
  /** Of use where `isSound` says so. */
  readonly values: Values;
  /** `ERR_CONFIG` each, in the order in which they were found; those complained of later as well. */
  readonly faults: () => readonly IdentityError[];
  readonly complain: Complain;
  /** Whether nothing has been complained of about this setting. */
  readonly isSound: (key: string) => boolean;
}

/**
 * Each setting's value: the environment over the file, the file over the default. Goes on after
 * unknown keys and values that are not what the setting takes, so that all of them can be shown.
 */
export function readSettings(document: YamlDocument, path: string, env: Environment): Settings {
  const faults: IdentityError[] = [];
  const unsound = new Set<string>();
  const ofFile: ComplainOfFile = (steps, expectation, which = 'value') => {
    unsound.add(steps.join('.'));
    // The place costs a walk through the text.
    if (faults.length >= MAX_FAULTS) return;
    const text = faultText(path, document.locate(steps, which), steps, expectation);
    faults.push(new IdentityError('ERR_CONFIG', text));
  };
  const complain: Complain = (key, expectation) => {
    const variable = environmentName(key);
    if (env[variable] === undefined) return ofFile(key.split('.'), expectation);
    unsound.add(key);
    faults.push(new IdentityError('ERR_CONFIG', `${variable}: ${expectation}`));
  };
  const stranger = wrongKind(document, path);
  if (stranger) {
    faults.push(stranger);
    unsound.add('');
  } else {
    faults.push(...unknownVariables(env));
    checkKeys(document.value, [], ofFile);
    // What is no mapping has no settings that could be missing.
    if (!unsound.has('')) checkValues(document.value, env, { ofFile, complain });
  }
  // A mapping that is none takes its settings with it.
  const isSound = (key: string) => !prefixesOf(key).some((prefix) => unsound.has(prefix));
  return { values: merge(document.value, env, isSound), faults: () => faults, complain, isSound };
}

/** Nobody reads more. */
const MAX_FAULTS = 50;

function prefixesOf(key: string): readonly string[] {
  const steps = key.split('.');
  return ['', ...steps.map((_, n) => steps.slice(0, n + 1).join('.'))];
}

/** Takes down a fault of what stands in the file. */
type ComplainOfFile = (
  steps: readonly string[],
  expectation: string,
  which?: 'key' | 'value',
) => void;

/** Variables of our own that are no settings: of commands, and of the project's tests. */
const OTHER_VARIABLES = /^CREDENCE_(?:ADMIN_SOCKET$|BIN$|TEST_|UPDATE_)/;
/** What Kubernetes tells every pod of a service named `credence` or `credence-…`. */
const SERVICE_VARIABLES =
  /^CREDENCE_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT|PORT_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)$/;

/** One that is misspelled would be ignored, as `data_dri` in the file would be. */
function* unknownVariables(env: Environment): Generator<IdentityError> {
  const known = SETTINGS.map(({ key }) => environmentName(key));
  for (const name of Object.keys(env)) {
    if (!name.startsWith('CREDENCE_') || env[name] === undefined || known.includes(name)) continue;
    if (name === PIN_VARIABLE || OTHER_VARIABLES.test(name) || SERVICE_VARIABLES.test(name))
      continue;
    const near = nearestWord(name, new Set(known.map((word) => word.toLowerCase())));
    const help = near ? `, did you mean ${near.toUpperCase()}?` : '';
    yield new IdentityError('ERR_CONFIG', `${name}: unknown variable${help}`, {
      hint: 'credence config lists the variables of all settings',
    });
  }
}

/** What is easily taken for the configuration, and what to do about it. */
const STRANGERS = [
  {
    is: (top: Record<string, unknown>) => Array.isArray(top['entries']),
    key: 'entries',
    what: 'a policy document',
    hint: 'policy.paths of the configuration names the policy documents',
  },
  {
    is: (top: Record<string, unknown>) => 'static_resources' in top,
    key: 'static_resources',
    what: 'a bootstrap of Envoy',
    hint: 'envoy -c takes it; envoy-configs/quickstart/credence.yaml is a configuration of credence',
  },
];

function wrongKind(document: YamlDocument, path: string): IdentityError | undefined {
  const top = document.value;
  if (!isMapping(top)) return undefined;
  const stranger = STRANGERS.find(({ is }) => is(top));
  if (!stranger) return undefined;
  const { key, what, hint } = stranger;
  const text = `this looks like ${what}, not a configuration`;
  const at = document.locate([key], 'key');
  return new IdentityError('ERR_CONFIG', faultText(path, at, [key], text), { hint });
}

function checkKeys(value: unknown, steps: readonly string[], complain: ComplainOfFile): void {
  if (!isMapping(value)) {
    if (steps.length > 0 || value !== null) {
      complain(steps, `expected a mapping of settings, found ${kindOf(value)}`);
    }
    return;
  }
  for (const [name, inner] of Object.entries(value)) {
    const inside = [...steps, name];
    const full = inside.join('.');
    const flat = name.includes('.');
    if (!flat && SETTINGS.some((s) => s.key === full)) continue;
    if (!flat && SETTINGS.some((s) => s.key.startsWith(`${full}.`))) {
      checkKeys(inner, inside, complain);
      continue;
    }
    if (flat && SETTINGS.some((s) => s.key === full)) {
      complain(inside, 'unknown setting, write it as nested mappings, one for each dot', 'key');
      continue;
    }
    const meant = likely(name, steps).join(' or ');
    complain(inside, `unknown setting${meant === '' ? '' : `, did you mean ${meant}?`}`, 'key');
  }
}

/** What was probably meant, here or in another mapping; empty where that could be anything. */
function likely(name: string, steps: readonly string[]): readonly string[] {
  const here = namesBelow(steps);
  const words = name.toLowerCase().split(/[_-]/);
  const fuller = [...here].filter((key) => words.every((word) => key.split('_').includes(word)));
  const near = nearestWord(name, here) ?? (fuller.length === 1 ? fuller[0] : undefined);
  if (near !== undefined) return [[...steps, near].join('.')];
  const plain = (text: string) => text.replaceAll(/[_-]/g, '').toLowerCase();
  const elsewhere = SETTINGS.flatMap(({ key }) => {
    const names = key.split('.');
    const at = names.findIndex((one) => plain(one) === plain(name));
    return at < 0 ? [] : [names.slice(0, at + 1).join('.')];
  });
  const places = [...new Set(elsewhere)];
  return places.length <= MOST_LIKELY ? places : [];
}

/** More would be a list to choose from. */
const MOST_LIKELY = 3;

/** The keys that may stand in the mapping at `steps`. */
function namesBelow(steps: readonly string[]): Set<string> {
  const prefix = steps.map((step) => `${step}.`).join('');
  const below = SETTINGS.filter(({ key }) => key.startsWith(prefix));
  return new Set(below.map(({ key }) => key.slice(prefix.length).split('.')[0] ?? ''));
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A bad value in the file is an error also while the environment wins over it. */
function checkValues(
  value: unknown,
  env: Environment,
  { ofFile, complain }: { ofFile: ComplainOfFile; complain: Complain },
): void {
  for (const { key, format } of SETTINGS) {
    const fault = (given: unknown) =>
      given === undefined || format.parse(given) !== undefined
        ? undefined
        : `expected ${format.expected}, found ${shown(given)}`;
    const written = read(value, key.split('.'));
    const inFile = fault(written);
    if (inFile !== undefined) ofFile(key.split('.'), inFile);
    const variable = env[environmentName(key)];
    const inEnvironment = fault(variable);
    if (inEnvironment !== undefined) complain(key, inEnvironment);
    if (key === 'trust_domain' && written === undefined && variable === undefined) {
      ofFile([], `trust_domain is missing: expected ${format.expected}`);
    }
  }
}

/** File over defaults and environment over file, through convict; only values that are sound. */
function merge(value: unknown, env: Environment, isSound: (key: string) => boolean): Values {
  for (const format of new Set(SETTINGS.map((s) => s.format))) {
    convict.addFormat({
      name: format.expected,
      validate: () => undefined,
      coerce: (raw: unknown) => format.parse(raw) ?? raw,
    });
  }
  const schema: Record<string, unknown> = {};
  const written: Record<string, unknown> = {};
  const variables: Record<string, string> = {};
  for (const s of SETTINGS) {
    const steps = s.key.split('.');
    place(schema, steps, toSchema(s));
    if (!isSound(s.key)) continue;
    const inFile = read(value, steps);
    if (inFile !== undefined) place(written, steps, inFile);
    const name = environmentName(s.key);
    if (env[name] !== undefined) variables[name] = env[name];
  }
  const values = convict(schema as convict.Schema<Record<string, unknown>>, {
    args: [],
    env: variables,
  });
  values.load<Record<string, unknown>>(written);
  return values;
}

function toSchema(s: Setting): object {
  return {
    doc: s.doc,
    format: s.format.expected,
    default: s.fallback === undefined ? null : (s.format.parse(s.fallback) ?? null),
    env: environmentName(s.key),
    nullable: true,
  };
}

function place(target: Record<string, unknown>, steps: readonly string[], leaf: unknown): void {
  const [step = '', ...rest] = steps;
  if (rest.length === 0) {
    target[step] = leaf;
    return;
  }
  const inner = (target[step] ??= {}) as Record<string, unknown>;
  place(inner, rest, leaf);
}

function read(value: unknown, steps: readonly string[]): unknown {
  return steps.reduce<unknown>((at, step) => (isMapping(at) ? at[step] : undefined), value);
}

function shown(value: unknown): string {
  return typeof value === 'string' ? `"${value.slice(0, 80)}"` : kindOf(value);
}
