import { toIdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import { json, type Answer } from './answer.ts';

/** Which authorities: the roots, or the CAs below them that sign SVIDs. */
export type CaLevel = 'root' | 'issuing';

/**
 * What an operator does to authorities by hand; each resolves with the name of the authority. Rejects
 * with `ERR_ISSUER` when it cannot be, `ERR_NOT_READY` while there are none yet.
 */
export interface CaControl {
  prepare(level: CaLevel, options: { signal: AbortSignal }): Promise<string>;
  activate(level: CaLevel, options: { signal: AbortSignal; force: boolean }): Promise<string>;
  taint(name: string, options: { signal: AbortSignal }): Promise<string>;
  revoke(name: string, options: { signal: AbortSignal; force: boolean }): Promise<string>;
}

interface CommandContext {
  readonly control: CaControl;
  readonly log: Logger;
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal;
}

/** A call under `/ca/`: what it takes, and what it does with that. */
interface CaCommand {
  /** Each may be given once; any other is refused. */
  readonly takes: readonly Parameter[];
  run(values: Values, context: CommandContext): Promise<string>;
}

type Parameter = 'level' | 'authority' | 'force';
interface Values {
  readonly level: CaLevel;
  readonly authority: string;
  readonly force: boolean;
}

/** The whole of a subject key identifier, or as many of its digits as tell it from others. */
const AUTHORITY = /^[0-9a-f]{4,128}$/;

const COMMANDS: Readonly<Record<string, CaCommand>> = {
  '/ca/prepare': {
    takes: ['level'],
    run: ({ level }, { control, signal }) => control.prepare(level, { signal }),
  },
  '/ca/activate': {
    takes: ['level', 'force'],
    run: ({ level, force }, { control, signal }) => control.activate(level, { signal, force }),
  },
  '/ca/taint': {
    takes: ['authority'],
    run: ({ authority }, { control, signal }) => control.taint(authority, { signal }),
  },
  '/ca/revoke': {
    takes: ['authority', 'force'],
    run: ({ authority, force }, { control, signal }) =>
      control.revoke(authority, { signal, force }),
  },
};

/** Their paths, all for POST. */
export const CA_COMMANDS: readonly string[] = Object.keys(COMMANDS);

/** Does what the path says, one of `CA_COMMANDS`. */
export async function runCaCommand(
  path: string,
  query: URLSearchParams,
  context: CommandContext,
): Promise<Answer> {
  const command = Object.hasOwn(COMMANDS, path) ? COMMANDS[path] : undefined;
  if (!command) return json({ error: `no such command, there are ${CA_COMMANDS.join(' ')}` }, 404);
  const values = valuesOf(query, command.takes);
  if (typeof values === 'string') return json({ error: values }, 400);
  // Who asked is whoever may open the socket; what came of it the issuer says.
  context.log.info({ detail: `${path}?${query.toString()}` }, 'authorities are changed by hand');
  try {
    return json({ authority: await command.run(values, context) });
  } catch (thrown) {
    const { code, message } = toIdentityError(thrown);
    if (code === 'ERR_ISSUER') return json({ error: message }, 409);
    if (code === 'ERR_NOT_READY' || code === 'ERR_SHUTDOWN') return json({ error: message }, 503);
    throw thrown;
  }
}

/** The parameters, or what is wrong with them. */
function valuesOf(query: URLSearchParams, takes: readonly Parameter[]): Values | string {
  const names = [...query.keys()];
  const strange = names.find((name) => !takes.some((parameter) => parameter === name));
  if (strange !== undefined) return `${JSON.stringify(strange)} is not known here`;
  if (new Set(names).size < names.length) return 'a parameter is given twice';
  const { level, authority = '', force = 'false' } = Object.fromEntries(query);
  if (takes.includes('level') && level !== 'root' && level !== 'issuing') {
    return 'level is to be root or issuing';
  }
  if (takes.includes('authority') && !AUTHORITY.test(authority)) {
    return 'authority is to be 4 hexadecimal digits of its identifier, or more';
  }
  if (force !== 'true' && force !== 'false') return 'force is to be true or false';
  return { level: level === 'root' ? 'root' : 'issuing', authority, force: force === 'true' };
}
