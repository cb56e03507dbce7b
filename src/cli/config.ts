import { environmentName, SETTINGS } from '../settings.ts';
import type { Action } from './command.ts';
import { EXIT } from './exit.ts';

/** `credence config`: the reference of every setting. */
export const config: Action = (given, _operands, terminal) => {
  const rows = SETTINGS.map(({ key, fallback, doc, format }) => ({
    key,
    environment: environmentName(key),
    default: fallback === undefined ? null : fallback,
    expected: format.expected,
    meaning: doc,
  }));
  if (given['json'] === true) {
    terminal.out(`${JSON.stringify(rows, undefined, 2)}\n`);
    return Promise.resolve(EXIT.done);
  }
  for (const row of rows) {
    const fallback = row.default === null ? 'none' : JSON.stringify(row.default);
    terminal.out(
      `${row.key}\n    ${row.meaning}\n    default ${fallback}, expected ${row.expected}\n    ${row.environment}\n`,
    );
  }
  return Promise.resolve(EXIT.done);
};
