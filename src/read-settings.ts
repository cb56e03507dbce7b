import convict from 'convict';
import { IdentityError } from './core/errors.ts';
import { nearestWord } from './core/nearest-word.ts';
import { faultText, kindOf, type YamlDocument } from './core/yaml.ts';
import { environmentName, SETTINGS, type Setting } from './settings.ts';

/** The variables of the process, or those of a test. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The value of every setting, by its key. */
export type Values = convict.Config<Record<string, unknown>>;

/** Throws `ERR_CONFIG` about the value that counts: names its variable, or file, line and key. */
export type Complain = (key: string, expectation: string) => never;

/**
 * Each setting's value on its own: the environment over the file, the file over the default. Throws
 * `ERR_CONFIG` for unknown keys and for values that are not what the setting takes.
 */
export function readSettings(
  document: YamlDocument,
  path: string,
  env: Environment,
): { values: Values; complain: Complain } {
  const { ofFile, complain } = complainer(document, path, env);
  checkVariables(env);
  checkKind(document, path);
  checkKeys(document.value, [], ofFile);
  checkValues(document.value, env, { ofFile, complain });
  return { values: merge(document.value, env), complain };
}

/** Throws about what stands in the file. */
type ComplainOfFile = (
  steps: readonly string[],
  expectation: string,
  which?: 'key' | 'value',
) => never;

function complainer(document: YamlDocument, path: string, env: Environment) {
  const ofFile: ComplainOfFile = (steps, expectation, which = 'value') => {
    const text = faultText(path, document.locate(steps, which), steps, expectation);
    throw new IdentityError('ERR_CONFIG', text);
  };
  const complain: Complain = (key, expectation) => {
    const variable = environmentName(key);
    if (env[variable] === undefined) return ofFile(key.split('.'), expectation);
    throw new IdentityError('ERR_CONFIG', `${variable}: ${expectation}`);
  };
  return { ofFile, complain };
}

/** Variables of our own that are no settings: of commands, and of the project's tests. */
const OTHER_VARIABLES = /^CREDENCE_(?:ADMIN_SOCKET$|BIN$|TEST_|UPDATE_)/;
/** What Kubernetes tells every pod of a service named `credence` or `credence-…`. */
const SERVICE_VARIABLES =
  /^CREDENCE_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT|PORT_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)$/;

/** One that is misspelled would be ignored, as `data_dri` in the file would be. */
function checkVariables(env: Environment): void {
  const known = SETTINGS.map(({ key }) => environmentName(key));
  for (const name of Object.keys(env)) {
    if (!name.startsWith('CREDENCE_') || env[name] === undefined || known.includes(name)) continue;
    if (OTHER_VARIABLES.test(name) || SERVICE_VARIABLES.test(name)) continue;
    const near = nearestWord(name, new Set(known.map((word) => word.toLowerCase())));
    const help = near ? `, did you mean ${near.toUpperCase()}?` : '';
    throw new IdentityError('ERR_CONFIG', `${name}: unknown variable${help}`, {
      hint: 'credence config lists the variables of all settings',
    });
  }
}

/** The file that is most easily taken for the configuration is the other one. */
function checkKind(document: YamlDocument, path: string): void {
  if (!isMapping(document.value) || !Array.isArray(document.value['entries'])) return;
  const at = document.locate(['entries'], 'key');
  const text = 'this looks like a policy document, not a configuration';
  throw new IdentityError('ERR_CONFIG', faultText(path, at, ['entries'], text), {
    hint: 'policy.paths of the configuration names the policy documents',
  });
}

function checkKeys(value: unknown, steps: readonly string[], complain: ComplainOfFile): void {
  if (!isMapping(value)) {
    if (steps.length === 0 && value === null) return;
    complain(steps, `expected a mapping of settings, found ${kindOf(value)}`);
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
    }
    const near = nearestWord(name, namesBelow(steps));
    complain(
      inside,
      `unknown setting${near ? `, did you mean ${[...steps, near].join('.')}?` : ''}`,
      'key',
    );
  }
}

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

/** File over defaults and environment over file, through convict; all values have been checked. */
function merge(value: unknown, env: Environment): Values {
  for (const format of new Set(SETTINGS.map((s) => s.format))) {
    convict.addFormat({
      name: format.expected,
      validate: () => undefined,
      coerce: (raw: unknown) => format.parse(raw) ?? raw,
    });
  }
  const schema: Record<string, unknown> = {};
  for (const s of SETTINGS) place(schema, s.key.split('.'), toSchema(s));
  const values = convict(schema as convict.Schema<Record<string, unknown>>, {
    args: [],
    env: { ...env },
  });
  if (isMapping(value)) values.load<Record<string, unknown>>(value);
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

function place(target: Record<string, unknown>, steps: readonly string[], leaf: object): void {
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
