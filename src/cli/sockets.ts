import { IdentityError } from '../core/errors.ts';
import { DEFAULT_ADMIN_SOCKET_PATH, DEFAULT_SOCKET_PATH } from '../settings.ts';
import { textOf, type Given, type Terminal } from './command.ts';
import { findQuickstart } from './quickstart.ts';

/** The admin socket a command asks: flag, environment, configuration, default. */
export async function adminSocket(given: Given, terminal: Terminal): Promise<string> {
  const explicit = textOf(given, 'admin-socket') ?? variable(terminal, 'CREDENCE_ADMIN_SOCKET');
  return (
    explicit ?? (await fromConfig(given, terminal))?.adminSocketPath ?? DEFAULT_ADMIN_SOCKET_PATH
  );
}

/** The public socket `fetch` uses: flag, SPIFFE_ENDPOINT_SOCKET, configuration, default. */
export async function publicSocket(given: Given, terminal: Terminal): Promise<string> {
  const flag = textOf(given, 'socket');
  if (flag !== undefined) return flag.startsWith('unix:') ? endpointPath(flag) : flag;
  const endpoint = variable(terminal, 'SPIFFE_ENDPOINT_SOCKET');
  if (endpoint !== undefined) return endpointPath(endpoint);
  return (await fromConfig(given, terminal))?.socketPaths[0] ?? DEFAULT_SOCKET_PATH;
}

/** Manifests often leave a variable empty where it is not wanted. */
function variable({ env }: Terminal, name: string): string | undefined {
  return env[name] === '' ? undefined : env[name];
}

/** The configuration a command looks at: flag, else within a clone that of `npm start`. */
export function configFile(given: Given, terminal: Terminal): string | undefined {
  return textOf(given, 'config') ?? quickstart(terminal);
}

/** How `credence check` is called for the daemon whose admin socket a command asks. */
export function checkCommand(given: Given, terminal: Terminal): string {
  const elsewhere =
    textOf(given, 'admin-socket') !== undefined ||
    variable(terminal, 'CREDENCE_ADMIN_SOCKET') !== undefined;
  const file = elsewhere ? undefined : textOf(given, 'config');
  if (!elsewhere && file === undefined && quickstart(terminal) !== undefined) {
    return 'npx credence check';
  }
  return `credence check --config ${file ?? 'FILE'}`;
}

async function fromConfig(given: Given, terminal: Terminal) {
  const file = configFile(given, terminal);
  if (file === undefined) return undefined;
  const { loadConfig } = await import('../config.ts');
  return loadConfig(file, terminal.env);
}

/** Within a clone, on a machine without an installed daemon. */
function quickstart({ exists }: Terminal): string | undefined {
  return exists(DEFAULT_SOCKET_PATH) ? undefined : findQuickstart(process.cwd());
}

/** SPIFFE Workload Endpoint 4 (WE-09, WE-10): `unix:` with an absolute path and nothing else. */
function endpointPath(address: string): string {
  const match = /^unix:(?:\/\/(?=\/))?(\/[^?#]*)$/.exec(address);
  const path = match?.[1];
  if (path === undefined || path.startsWith('//')) {
    throw new IdentityError(
      'ERR_USAGE',
      `"${address}" is not a Unix socket address: expected unix:///absolute/path`,
      { hint: '--socket takes a relative path as well, without unix: before it' },
    );
  }
  return path;
}
