import type { Clock } from '../core/clock.ts';
import { errorText, IdentityError, systemCode } from '../core/errors.ts';
import { httpAsk, type HttpAnswer } from './http-get.ts';
import { interrupted, socketFault, unreachableError, unreachableHint } from './unreachable.ts';

interface AskOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Undefined: GET. */
  readonly method?: 'GET' | 'POST';
  readonly body?: string;
  /** For the whole answer; undefined: 5 s. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 5000;
/** Some hundred bytes for each of the streams that a daemon may have. */
const MAX_BYTES = 128 * 1024 * 1024;

/**
 * Asks the admin socket. Throws `ERR_UNREACHABLE` when nobody answers there, or not in time, or
 * somebody else; `ERR_SHUTDOWN` when the signal is aborted.
 */
export async function askAdmin(
  socketPath: string,
  path: string,
  { clock, signal, method = 'GET', body, timeoutMs = TIMEOUT_MS }: AskOptions,
): Promise<HttpAnswer> {
  const bounds = { clock, signal, timeoutMs, maxBytes: MAX_BYTES };
  try {
    return await httpAsk({ socketPath }, { method, path, body }, bounds);
  } catch (thrown) {
    throw signal.aborted ? interrupted() : unreachable(socketPath, thrown);
  }
}

/** The JSON document at `path`; throws as `askAdmin` or, for any answer but 200, `ERR_DENIED`. */
export async function askAdminJson(
  socketPath: string,
  path: string,
  options: AskOptions,
): Promise<unknown> {
  const { code, body } = await askAdmin(socketPath, path, options);
  let document: unknown;
  try {
    document = JSON.parse(body);
  } catch (thrown) {
    throw unreachable(socketPath, new Error('its answer is not JSON', { cause: thrown }));
  }
  if (code === 200) return document;
  const { error, hint } = { ...(document as { error?: unknown; hint?: unknown } | null) };
  throw new IdentityError(
    'ERR_DENIED',
    typeof error === 'string' ? error : `the daemon answered ${code}`,
    typeof hint === 'string' ? { hint } : {},
  );
}

/** Whether this is the admin socket of a daemon, for who looked for the public one there. */
export async function isAdminSocket(socketPath: string, options: AskOptions): Promise<boolean> {
  const answer = await askAdmin(socketPath, '/live', options).catch(() => undefined);
  return answer?.code === 200 && answer.body === 'live\n';
}

function unreachable(socketPath: string, thrown: unknown): IdentityError {
  const code = systemCode(thrown);
  if (isHttp2(thrown)) {
    return unreachableError(socketPath, 'this is a public socket, not an admin socket', {
      cause: thrown,
      hint: 'admin_socket_path of the configuration names the other one, --config FILE finds it',
    });
  }
  const hint =
    code === 'EACCES'
      ? 'run it as the user that runs the daemon, or as root'
      : unreachableHint(code, '--admin-socket PATH or --config FILE says where to look');
  const reason = code?.startsWith('HPE_') ? 'what answers there does not speak HTTP' : undefined;
  return unreachableError(socketPath, socketFault(code) ?? reason ?? errorText(thrown), {
    cause: thrown,
    hint,
  });
}

/** A server of HTTP/2 begins with a frame of SETTINGS, whatever it is sent (RFC 9113 3.4). */
function isHttp2(thrown: unknown): boolean {
  if (!(thrown instanceof Error) || !('rawPacket' in thrown)) return false;
  const { rawPacket } = thrown;
  return rawPacket instanceof Uint8Array && rawPacket.length >= 9 && rawPacket[3] === 4;
}
