import { toIdentityError } from '../core/errors.ts';
import { VERSION } from '../core/version.ts';
import type { Terminal } from './command.ts';
import { COMMANDS } from './commands.ts';
import { EXIT, EXIT_OF } from './exit.ts';
import { findCommand, unknownFlag } from './find-command.ts';
import { parseFlags } from './flags.ts';
import { commandHelp, generalHelp } from './help.ts';
import { harmless, oneLine } from './printable.ts';

/** Runs the executable with its arguments and answers the exit code; never throws. */
export async function program(argv: readonly string[], given: Terminal): Promise<number> {
  const terminal = guarded(given);
  try {
    return await dispatch(argv, terminal);
  } catch (thrown) {
    const error = toIdentityError(thrown);
    terminal.err(`credence: ${oneLine(error.message)}\n`);
    if (error.hint !== undefined) terminal.err(`hint: ${oneLine(error.hint)}\n`);
    if (error.code === 'ERR_BUG' && thrown instanceof Error)
      terminal.err(`${thrown.stack ?? ''}\n`);
    return EXIT_OF[error.code];
  }
}

/**
 * The one way to the terminal. Much of what is printed was sent by a socket or stands in a file that
 * others write: names, Envoy's words, a daemon's reasons.
 */
function guarded(terminal: Terminal): Terminal {
  return {
    ...terminal,
    out: (text) => terminal.out(harmless(text)),
    err: (text) => terminal.err(harmless(text)),
  };
}

async function dispatch(argv: readonly string[], terminal: Terminal): Promise<number> {
  const [first, ...more] = argv;
  if (first === undefined) {
    terminal.err(generalHelp(COMMANDS));
    return EXIT.usage;
  }
  if (isHelp(first) || first === 'help') {
    const about = more.filter((word) => !word.startsWith('-'));
    terminal.out(
      about.length === 0 ? generalHelp(COMMANDS) : commandHelp(findCommand(about, true)),
    );
    return EXIT.done;
  }
  if (first === '--version') {
    terminal.out(`${VERSION}\n`);
    return EXIT.done;
  }
  if (first.startsWith('-')) throw unknownFlag(first);
  if (argv.some(isHelp)) {
    terminal.out(
      commandHelp(
        findCommand(
          argv.filter((word) => !word.startsWith('-')),
          true,
        ),
      ),
    );
    return EXIT.done;
  }
  const command = findCommand(argv);
  const { given, operands } = parseFlags(command, argv.slice(command.words.split(' ').length));
  const action = await command.load();
  return action(given, operands, terminal);
}

const isHelp = (word: string) => word === '--help' || word === '-h';
