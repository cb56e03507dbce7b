import { sleep, type Clock } from '../core/clock.ts';
import { parseDuration } from '../core/duration.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import { askAdmin } from './admin-client.ts';
import { textOf, type Action, type Given } from './command.ts';
import { EXIT } from './exit.ts';
import type { HttpAnswer } from './http-get.ts';
import { oneLine } from './printable.ts';
import { adminSocket } from './sockets.ts';
import { stayAlive } from './stay.ts';
import { interrupted } from './unreachable.ts';

/** What a probe's log keeps of a reason. */
const MAX_REASON = 1000;
/** Between two questions while it waits. */
const PAUSE_MS = 100;

/** `credence health`: one line, exit 0 or 1, and 1 as well when nobody answers. */
export const health: Action = async (given, _operands, terminal) => {
  if (given['live'] === true && given['ready'] === true) {
    throw new IdentityError('ERR_USAGE', 'credence health takes --live or --ready, not both');
  }
  const path = given['live'] === true ? '/live' : '/ready';
  const { clock, signal } = terminal;
  const waitMs = waitOf(given);
  const socket = await adminSocket(given, terminal);
  const ask = async (): Promise<HttpAnswer> => {
    try {
      return await askAdmin(socket, path, terminal);
    } catch (thrown) {
      const error = toIdentityError(thrown);
      if (error.code !== 'ERR_UNREACHABLE') throw error;
      // A probe knows yes and no: whoever cannot be reached is neither live nor ready.
      return { code: 0, body: error.message };
    }
  };
  const answer = await askUntilYes(ask, waitMs, { clock, signal });
  terminal.out(`${oneLine(answer.body.trim()).slice(0, MAX_REASON)}\n`);
  return answer.code === 200 ? EXIT.done : EXIT.no;
};

function waitOf(given: Given): number {
  const text = textOf(given, 'wait');
  if (text === undefined) return 0;
  const ms = parseDuration(text);
  if (ms !== undefined) return ms;
  throw new IdentityError('ERR_USAGE', `--wait is "${text}", expected a duration such as 30s`, {
    hint: 'credence health --wait 30s',
  });
}

/** The first yes, or the last no when the time is over. */
async function askUntilYes(
  ask: () => Promise<HttpAnswer>,
  waitMs: number,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<HttpAnswer> {
  const untilMs = clock.monotonic() + waitMs;
  const stay = stayAlive();
  try {
    for (;;) {
      const answer = await ask();
      const leftMs = untilMs - clock.monotonic();
      if (answer.code === 200 || leftMs <= 0) return answer;
      await sleep(clock, Math.min(PAUSE_MS, leftMs), { signal });
    }
  } catch (thrown) {
    throw signal.aborted ? interrupted() : thrown;
  } finally {
    stay.close();
  }
}
