import { IdentityError } from '../core/errors.ts';
import { textOf, type Given } from './command.ts';

/** The value of `--pid`, undefined when it was not given; throws `ERR_USAGE` when it is none. */
export function pidOf(given: Given): number | undefined {
  const text = textOf(given, 'pid');
  if (text === undefined) return undefined;
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text);
  throw new IdentityError('ERR_USAGE', `--pid is "${text}", expected the number of a process`, {
    hint: 'pgrep envoy shows some',
  });
}
