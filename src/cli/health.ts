import { askAdmin } from './admin-client.ts';
import type { Action } from './command.ts';
import { EXIT } from './exit.ts';
import { adminSocket } from './sockets.ts';

/** `credence health`: one line, exit 0 or 1. */
export const health: Action = async (given, _operands, terminal) => {
  const path = given['live'] === true ? '/live' : '/ready';
  const answer = await askAdmin(await adminSocket(given, terminal), path, terminal);
  terminal.out(`${answer.body.trim()}\n`);
  return answer.code === 200 ? EXIT.done : EXIT.no;
};
