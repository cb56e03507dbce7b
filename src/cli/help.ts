import type { Command } from './command.ts';

/** The whole executable's help. */
export function generalHelp(commands: readonly Command[]): string {
  const rows = commands.map(({ words, summary }) => `  ${words.padEnd(14)}${summary}`);
  return [
    'credence - identity for Envoy: attested X.509-SVIDs over SDS',
    '',
    'usage: credence COMMAND [FLAGS]',
    '',
    ...rows,
    '',
    'credence COMMAND --help explains a command; credence --version prints the version.',
    'exit codes: 0 done, 1 the answer is no, 64 wrong usage or configuration,',
    '            69 daemon not reachable (of health: 1, as a probe knows yes and no)',
    '',
  ].join('\n');
}

/** One command's help. */
export function commandHelp({ words, operands, summary, flags, note }: Command): string {
  const rows = [...flags, { name: 'help', doc: 'print this', value: undefined }].map((flag) => {
    const head = `--${flag.name}${flag.value === undefined ? '' : ` ${flag.value}`}`;
    return `  ${head.padEnd(24)}${flag.doc}`;
  });
  const operand = operands?.optional ? ` [${operands.doc}]` : operands ? ` ${operands.doc}` : '';
  const usage = `usage: credence ${words}${operand} [FLAGS]`;
  const end = note === undefined ? [] : ['', note];
  return [`credence ${words}: ${summary}`, '', usage, '', ...rows, ...end, ''].join('\n');
}
