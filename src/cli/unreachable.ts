import { IdentityError } from '../core/errors.ts';

const FAULTS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket',
  ENOTDIR: 'there is no such socket',
  ECONNREFUSED: 'nobody listens on it',
  ECONNRESET: 'it closed the connection without an answer',
  EACCES: 'this user may not open it',
  EAGAIN: 'it has more connections waiting than it takes',
};

/** What the errno of a failed connect says of the socket; undefined for any other errno. */
export function socketFault(errno: string | undefined): string | undefined {
  return errno !== undefined && Object.hasOwn(FAULTS, errno) ? FAULTS[errno] : undefined;
}

/**
 * What to do when the daemon cannot be asked, by the errno of the attempt.
 * @param where how the command is told which daemon it is
 */
export function unreachableHint(errno: string | undefined, where: string): string {
  // A full queue is one that nobody takes from.
  return errno === 'ETIMEDOUT' || errno === 'EAGAIN'
    ? 'it is there but does not answer: stopped (Ctrl-Z, SIGSTOP) or stuck'
    : `is it running? ${where}`;
}

/** The daemon cannot be asked: `ERR_UNREACHABLE`. */
export function unreachableError(
  socketPath: string,
  reason: string,
  options: { hint: string; cause?: unknown },
): IdentityError {
  const message = `cannot reach credence at ${socketPath}: ${reason}`;
  return new IdentityError('ERR_UNREACHABLE', message, options);
}

/** The user did not want to wait any longer: `ERR_SHUTDOWN`. */
export function interrupted(): IdentityError {
  return new IdentityError('ERR_SHUTDOWN', 'interrupted');
}
