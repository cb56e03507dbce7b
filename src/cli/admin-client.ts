import { request } from 'node:http';
import { errorText, IdentityError, systemCode } from '../core/errors.ts';
import { socketFault, unreachableError } from './unreachable.ts';

/** An answer of the admin socket. */
export interface AdminAnswer {
  readonly code: number;
  readonly body: string;
}

const TIMEOUT_MS = 5000;

/** Asks the admin socket; throws `ERR_UNREACHABLE` when nobody answers there. */
export function askAdmin(
  socketPath: string,
  path: string,
  options: { signal: AbortSignal },
): Promise<AdminAnswer> {
  return new Promise((resolve, reject) => {
    const fail = (thrown: unknown) => reject(unreachable(socketPath, thrown));
    const req = request(
      { socketPath, path, method: 'GET', signal: options.signal, timeout: TIMEOUT_MS },
      (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        response.on('error', fail);
        response.on('end', () =>
          resolve({ code: response.statusCode ?? 0, body: Buffer.concat(parts).toString('utf8') }),
        );
      },
    );
    req.on('timeout', () => req.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
    req.on('error', fail);
    req.end();
  });
}

/** The JSON document at `path`; throws `ERR_UNREACHABLE` or, for any answer but 200, `ERR_DENIED`. */
export async function askAdminJson(
  socketPath: string,
  path: string,
  options: { signal: AbortSignal },
): Promise<unknown> {
  const { code, body } = await askAdmin(socketPath, path, options);
  let document: unknown;
  try {
    document = JSON.parse(body);
  } catch (thrown) {
    throw unreachable(socketPath, thrown);
  }
  if (code === 200) return document;
  const told = typeof document === 'object' && document !== null && 'error' in document;
  throw new IdentityError(
    'ERR_DENIED',
    told ? String((document as { error: unknown }).error) : `the daemon answered ${code}`,
  );
}

function unreachable(socketPath: string, thrown: unknown): IdentityError {
  return unreachableError(socketPath, socketFault(systemCode(thrown)) ?? errorText(thrown), {
    cause: thrown,
    hint: 'is it running? --admin-socket PATH or --config FILE says where to look',
  });
}
