import { IdentityError, toIdentityError } from '../core/errors.ts';
import { askAdmin } from './admin-client.ts';
import type { Action } from './command.ts';
import { EXIT } from './exit.ts';
import type { HttpAnswer } from './http-get.ts';
import { oneLine } from './printable.ts';
import { adminSocket } from './sockets.ts';

/** What a probe's log keeps of a reason. */
const MAX_REASON = 1000;

/** `credence health`: one line, exit 0 or 1, and 1 as well when nobody answers. */
export const health: Action = async (given, _operands, terminal) => {
  if (given['live'] === true && given['ready'] === true) {
    throw new IdentityError('ERR_USAGE', 'credence health takes --live or --ready, not both');
  }
  const path = given['live'] === true ? '/live' : '/ready';
  const socket = await adminSocket(given, terminal);
  let answer: HttpAnswer;
  try {
    answer = await askAdmin(socket, path, terminal);
  } catch (thrown) {
    const error = toIdentityError(thrown);
    if (error.code !== 'ERR_UNREACHABLE') throw error;
    // A probe knows yes and no: whoever cannot be reached is neither live nor ready.
    answer = { code: 0, body: error.message };
  }
  terminal.out(`${oneLine(answer.body.trim()).slice(0, MAX_REASON)}\n`);
  return answer.code === 200 ? EXIT.done : EXIT.no;
};
