import { parseArgs } from 'node:util';
import { errorText, IdentityError } from '../core/errors.ts';
import { nearestWord } from '../core/nearest-word.ts';
import type { Command, Given } from './command.ts';

/** Flags and operands of a command; throws `ERR_USAGE` with what was probably meant. */
export function parseFlags(
  command: Command,
  args: readonly string[],
): { given: Given; operands: readonly string[] } {
  checkFlags(command, args);
  const { flags, words } = command;
  const options = Object.fromEntries(
    flags.map(({ name, value }) => [
      name,
      { type: value === undefined ? ('boolean' as const) : ('string' as const) },
    ]),
  );
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options,
    });
    checkOperands(command, positionals);
    return { given: values, operands: positionals };
  } catch (thrown) {
    if (thrown instanceof IdentityError) throw thrown;
    throw new IdentityError('ERR_USAGE', errorText(thrown), {
      hint: `credence ${words} --help lists the flags`,
    });
  }
}

/** Names that the command does not know, and values that are missing or not asked for. */
function checkFlags({ flags, words }: Command, args: readonly string[]): void {
  for (let n = 0; n < args.length; n++) {
    const arg = args[n] ?? '';
    if (arg === '--') return;
    const [, name, , given] = /^--?([^=]+)(=(.*))?$/s.exec(arg) ?? [];
    if (name === undefined) continue;
    const flag = arg.startsWith('--') ? flags.find((f) => f.name === name) : undefined;
    if (!flag) {
      const near = nearestWord(
        name,
        flags.map((f) => f.name),
      );
      throw new IdentityError('ERR_USAGE', `credence ${words} has no flag ${arg}`, {
        hint: near ? `did you mean --${near}?` : `credence ${words} --help lists the flags`,
      });
    }
    if (flag.value === undefined) {
      if (given === undefined) continue;
      throw new IdentityError('ERR_USAGE', `--${name} takes no value, found "${given}"`, {
        hint: `credence ${words} --${name}`,
      });
    }
    const value = given ?? args[++n];
    // A path that begins with a dash can be given as --flag=-path.
    if (value === undefined || value === '' || (given === undefined && value.startsWith('-'))) {
      throw new IdentityError('ERR_USAGE', `--${name} needs a value: --${name} ${flag.value}`, {
        hint: `credence ${words} --help lists the flags`,
      });
    }
  }
}

function checkOperands({ operands: expected, words }: Command, given: readonly string[]): void {
  if (expected?.optional && given.length === 0) return;
  const [only = ''] = given;
  const allowed = expected?.allowed;
  if (expected?.several && given.length > 0 && given.every((one) => one !== '')) return;
  const fits = expected
    ? given.length === 1 && only !== '' && (allowed?.includes(only) ?? true)
    : given.length === 0;
  if (fits) return;
  const near = allowed && given.length === 1 && nearestWord(only, allowed);
  throw new IdentityError(
    'ERR_USAGE',
    expected
      ? `credence ${words} needs ${allowed ? `one of ${allowed.join(', ')}` : expected.doc}`
      : `credence ${words} takes no "${given.join(' ')}"`,
    { hint: near ? `did you mean credence ${words} ${near}?` : `credence ${words} --help` },
  );
}
