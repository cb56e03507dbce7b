import { IdentityError } from '../core/errors.ts';

/** Something in the data folder cannot be continued with, and a new one must not be made silently. */
export function unusable(what: string, why: string, cause?: unknown): IdentityError {
  return new IdentityError('ERR_KEY_STORE', `cannot use ${what}: ${why}`, {
    cause,
    hint: 'restore the data directory from a backup; to start anew with a new root, which every peer then has to learn, move it away',
  });
}
