/**
 * Everything that can go wrong and that somebody decides on. A new code has to be placed in the
 * status table of `sds/status.ts` and in the exit codes of `cli/exit.ts`, or neither compiles.
 */
export type ErrorCode =
  | 'ERR_USAGE'
  | 'ERR_CONFIG'
  | 'ERR_POLICY'
  | 'ERR_SOCKET'
  | 'ERR_ALREADY_RUNNING'
  | 'ERR_UNREACHABLE'
  | 'ERR_KEY_STORE'
  | 'ERR_DISK'
  | 'ERR_PEER_GONE'
  | 'ERR_PEER_HIDDEN'
  | 'ERR_ATTESTATION'
  | 'ERR_DENIED'
  | 'ERR_NOT_READY'
  | 'ERR_LIMIT'
  | 'ERR_BAD_REQUEST'
  | 'ERR_ISSUER'
  | 'ERR_SHUTDOWN'
  | 'ERR_BUG';

/**
 * The one error class. `message` is lower case, without a full stop, and never holds key material;
 * `hint` says what to do about it and is printed by the command line on a line of its own.
 */
export class IdentityError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; hint?: string } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'IdentityError';
    this.code = code;
    this.hint = options.hint;
  }
}

/** The one way from an unknown thrown value to an `IdentityError`; `ERR_BUG` when it is not one. */
export function toIdentityError(thrown: unknown, fallback: ErrorCode = 'ERR_BUG'): IdentityError {
  for (let e = thrown, depth = 0; e instanceof Error && depth < 8; e = e.cause, depth++) {
    if (e instanceof IdentityError) return e;
  }
  return new IdentityError(fallback, errorText(thrown), { cause: thrown });
}

/** The text of anything thrown; for messages of our own errors that wrap another. */
export function errorText(thrown: unknown): string {
  if (thrown instanceof Error) return thrown.message;
  try {
    return String(thrown);
  } catch {
    return 'something that has no text was thrown';
  }
}

/** The `errno` name (`ENOENT`, `ENOSPC`) of a system error, or undefined. */
export function systemCode(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error) || !('code' in thrown)) return undefined;
  return typeof thrown.code === 'string' ? thrown.code : undefined;
}
