import { IdentityError } from '../core/errors.ts';
import { askAdminJson } from './admin-client.ts';
import { type Action, type Given, type Terminal } from './command.ts';
import { EXIT } from './exit.ts';
import { record, text } from './json-fields.ts';
import { adminSocket } from './sockets.ts';

/** The daemon ends a wait by itself; one that does not answer at all is given up on then. */
const TIMEOUT_MS = 24 * 3_600_000;

/** `credence ca prepare`. */
export const caPrepare: Action = async (given, _operands, terminal) => {
  const level = levelOf(given);
  return told(
    terminal,
    `prepared ${NAMES[level]}`,
    await change(given, terminal, 'prepare', { level }),
  );
};

/** `credence ca activate`: may take as long as proxies are waited for. */
export const caActivate: Action = async (given, _operands, terminal) => {
  const level = levelOf(given);
  const force = given['force'] === true;
  if (!force) waits(terminal);
  const query = { level, force: String(force) };
  return told(
    terminal,
    `activated ${NAMES[level]}`,
    await change(given, terminal, 'activate', query),
  );
};

/** `credence ca taint ID`: another one signs from now on, a new root only when the proxies have it. */
export const caTaint: Action = async (given, operands, terminal) => {
  const authority = authorityOf(operands);
  waits(terminal);
  return told(terminal, 'tainted', await change(given, terminal, 'taint', { authority }));
};

/** `credence ca revoke ID`. */
export const caRevokeAuthority: Action = async (given, operands, terminal) => {
  const query = { authority: authorityOf(operands), force: String(given['force'] === true) };
  return told(terminal, 'revoked', await change(given, terminal, 'revoke', query));
};

const NAMES = { root: 'the root', issuing: 'the issuing CA' } as const;

const levelOf = (given: Given) => (given['root'] === true ? 'root' : 'issuing');

/** As tools print it: capitals and colons are nothing to fail for. */
function authorityOf([operand = '']: readonly string[]): string {
  const id = operand.replaceAll(':', '').toLowerCase();
  if (/^[0-9a-f]{4,128}$/.test(id)) return id;
  throw new IdentityError('ERR_USAGE', `"${operand}" is no identifier of an authority`, {
    hint: 'credence ca status shows them: 4 hexadecimal digits or more',
  });
}

function waits({ err }: Terminal): void {
  err(
    'waiting for proxies that have not acknowledged the bundle, if there are any; Ctrl-C gives up\n',
  );
}

/** Answers the authority's name; `ERR_DENIED` with the daemon's reason when it cannot be. */
async function change(
  given: Given,
  terminal: Terminal,
  command: string,
  query: Readonly<Record<string, string>>,
): Promise<string> {
  const socket = await adminSocket(given, terminal);
  const path = `/ca/${command}?${new URLSearchParams(query).toString()}`;
  const { clock, signal } = terminal;
  const options = { clock, signal, method: 'POST', timeoutMs: TIMEOUT_MS } as const;
  const answer = record(await askAdminJson(socket, path, options));
  return text(answer['authority']) ?? '?';
}

function told({ out }: Terminal, what: string, authority: string): number {
  out(`${what} ${authority}\n`);
  return EXIT.done;
}
