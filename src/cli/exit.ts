import type { ErrorCode } from '../core/errors.ts';

/** Exit codes of the contract. */
export const EXIT = { done: 0, no: 1, usage: 64, unreachable: 69 } as const;

/** How a command that failed with a code exits; a new code has to be placed here. */
export const EXIT_OF: Readonly<Record<ErrorCode, number>> = {
  ERR_USAGE: EXIT.usage,
  ERR_CONFIG: EXIT.usage,
  ERR_POLICY: EXIT.usage,
  ERR_SOCKET: EXIT.no,
  ERR_ALREADY_RUNNING: EXIT.no,
  ERR_UNREACHABLE: EXIT.unreachable,
  ERR_KEY_STORE: EXIT.no,
  ERR_DISK: EXIT.no,
  ERR_PEER_GONE: EXIT.no,
  ERR_PEER_HIDDEN: EXIT.no,
  ERR_ATTESTATION: EXIT.no,
  ERR_DENIED: EXIT.no,
  ERR_NOT_READY: EXIT.no,
  ERR_LIMIT: EXIT.no,
  ERR_BAD_REQUEST: EXIT.no,
  ERR_ISSUER: EXIT.no,
  ERR_SHUTDOWN: EXIT.no,
  ERR_BUG: EXIT.no,
};
