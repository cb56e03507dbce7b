import { parseArgs } from 'node:util';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import { nearestWord } from '../core/nearest-word.ts';
import { VERSION } from '../core/version.ts';
import type { Command, Given, Terminal } from './command.ts';
import { COMMANDS } from './commands.ts';
import { EXIT, EXIT_OF } from './exit.ts';
import { commandHelp, generalHelp } from './help.ts';

/** Runs the executable with its arguments and answers the exit code; never throws. */
export async function program(argv: readonly string[], terminal: Terminal): Promise<number> {
  try {
    return await dispatch(argv, terminal);
  } catch (thrown) {
    const error = toIdentityError(thrown);
    terminal.err(`credence: ${error.message}\n`);
    if (error.hint !== undefined) terminal.err(`hint: ${error.hint}\n`);
    if (error.code === 'ERR_BUG' && thrown instanceof Error)
      terminal.err(`${thrown.stack ?? ''}\n`);
    return EXIT_OF[error.code];
  }
}

async function dispatch(argv: readonly string[], terminal: Terminal): Promise<number> {
  const [first] = argv;
  if (first === undefined) {
    terminal.err(generalHelp(COMMANDS));
    return EXIT.usage;
  }
  if (first === '--help' || first === '-h' || first === 'help') {
    terminal.out(generalHelp(COMMANDS));
    return EXIT.done;
  }
  if (first === '--version') {
    terminal.out(`${VERSION}\n`);
    return EXIT.done;
  }
  const command = findCommand(argv);
  const rest = argv.slice(command.words.split(' ').length);
  if (rest.includes('--help') || rest.includes('-h')) {
    terminal.out(commandHelp(command));
    return EXIT.done;
  }
  const { given, operands } = parseFlags(command, rest);
  const action = await command.load();
  return action(given, operands, terminal);
}

function findCommand(argv: readonly string[]): Command {
  const line = argv.join(' ');
  const found = COMMANDS.find(({ words }) => line === words || line.startsWith(`${words} `));
  if (found) return found;
  const typed = argv.filter((word) => !word.startsWith('-'));
  const names = COMMANDS.map(({ words }) => words);
  const near =
    nearestWord(typed.slice(0, 2).join(' '), names) ??
    nearestWord(typed[0] ?? '', names) ??
    names.find((name) => name.startsWith(`${typed[0] ?? ''} `));
  throw new IdentityError('ERR_USAGE', `unknown command "${typed.slice(0, 2).join(' ') || line}"`, {
    hint: near ? `did you mean credence ${near}?` : 'credence --help lists the commands',
  });
}

function parseFlags(
  command: Command,
  args: readonly string[],
): { given: Given; operands: readonly string[] } {
  const { flags, operands: expected, words } = command;
  for (const arg of args) {
    const name = /^--?([^=]+)/.exec(arg)?.[1];
    if (name === undefined || flags.some((flag) => arg.startsWith('--') && flag.name === name)) {
      continue;
    }
    const near = nearestWord(
      name,
      flags.map((flag) => flag.name),
    );
    throw new IdentityError('ERR_USAGE', `credence ${words} has no flag ${arg}`, {
      hint: near ? `did you mean --${near}?` : `credence ${words} --help lists the flags`,
    });
  }
  let parsed: { values: Given; positionals: string[] };
  try {
    parsed = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: Object.fromEntries(
        flags.map(({ name, value }) => [
          name,
          { type: value === undefined ? ('boolean' as const) : ('string' as const) },
        ]),
      ),
    });
  } catch (thrown) {
    throw new IdentityError('ERR_USAGE', toIdentityError(thrown).message, {
      hint: `credence ${words} --help lists the flags`,
    });
  }
  const { values: given, positionals: operands } = parsed;
  const fits = expected
    ? operands.length === 1 && expected.allowed.includes(operands[0] ?? '')
    : operands.length === 0;
  if (!fits) {
    throw new IdentityError(
      'ERR_USAGE',
      expected
        ? `credence ${words} needs one of ${expected.allowed.join(', ')}`
        : `credence ${words} takes no "${operands.join(' ')}"`,
      { hint: `credence ${words} --help` },
    );
  }
  return { given, operands };
}
