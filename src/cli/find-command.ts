import { IdentityError } from '../core/errors.ts';
import { nearestWord } from '../core/nearest-word.ts';
import type { Command } from './command.ts';
import { COMMANDS } from './commands.ts';

/** The command that the words begin with; throws `ERR_USAGE` with what was probably meant. */
export function findCommand(words: readonly string[], asksForHelp = false): Command {
  const line = words.join(' ');
  const found = COMMANDS.find((c) => line === c.words || line.startsWith(`${c.words} `));
  if (found) return found;
  // What follows a flag may be its value.
  const flag = words.findIndex((word) => word.startsWith('-'));
  const typed = flag < 0 ? words : words.slice(0, flag);
  const [first = ''] = typed;
  const family = COMMANDS.find((c) => c.words.startsWith(`${first} `));
  if (family && asksForHelp) return family;
  const names = COMMANDS.map((command) => command.words);
  const near =
    nearestWord(typed.slice(0, 2).join(' '), names) ?? nearestWord(first, names) ?? family?.words;
  throw new IdentityError('ERR_USAGE', `unknown command "${typed.slice(0, 2).join(' ')}"`, {
    hint:
      first === 'version'
        ? 'did you mean credence --version?'
        : near
          ? `did you mean credence ${near}?`
          : 'credence --help lists the commands',
  });
}

/** The error about a flag that stands where a command is expected. */
export function unknownFlag(arg: string): IdentityError {
  const name = arg.replace(/=.*/s, '');
  const near = nearestWord(name, ['--help', '--version']);
  const ofCommands = COMMANDS.some(({ flags }) => flags.some((flag) => `--${flag.name}` === name));
  return new IdentityError('ERR_USAGE', `credence has no flag ${name}`, {
    hint: ofCommands
      ? 'flags stand after the command: credence COMMAND [FLAGS]'
      : near
        ? `did you mean credence ${near}?`
        : 'credence --help lists the commands',
  });
}
