import { createHmac } from 'node:crypto';
import { readFileSync, realpathSync, rmSync } from 'node:fs';
import { writeFileAtomic } from '../core/atomic-file.ts';
import { errorText, IdentityError, systemCode } from '../core/errors.ts';
import { readPrivateFile } from '../issuer/private-files.ts';

const MAX_PIN_BYTES = 256;
const MODE_HINT = 'a file with the PIN alone, of the user that runs credence, mode 0400 or 0600';

/** The PIN in a file; a line break at its end does not count. `ERR_KEY_STORE` says what is wrong. */
export function readPin(path: string): string {
  let bytes;
  try {
    // A mounted Secret is a link; what it leads to is what counts.
    bytes = readPrivateFile(realpathSync(path), MAX_PIN_BYTES);
  } catch (thrown) {
    if (systemCode(thrown) !== 'ENOENT') {
      throw new IdentityError('ERR_KEY_STORE', `the PIN: ${errorText(thrown)}`, {
        cause: thrown,
        hint: MODE_HINT,
      });
    }
  }
  if (!bytes) throw new IdentityError('ERR_KEY_STORE', `the PIN: there is no file ${path}`);
  const pin = bytes.toString('utf8').replace(/\r?\n$/, '');
  bytes.fill(0);
  if (pin === '') throw new IdentityError('ERR_KEY_STORE', `the PIN: ${path} is empty`);
  return pin;
}

/**
 * Remembers over a restart which PIN a token has refused: a service that is started again and again
 * would lock the token with it. The file holds a digest that helps nobody to find the right one.
 */
export class RefusedPin {
  readonly #path: string;
  readonly #salt: string;

  constructor(path: string, salt: string) {
    this.#path = path;
    this.#salt = salt;
  }

  /** Throws `ERR_KEY_STORE` when this one was refused before. */
  check(pin: string): void {
    let refused;
    try {
      refused = readFileSync(this.#path, 'latin1');
    } catch (thrown) {
      if (systemCode(thrown) === 'ENOENT') return;
      throw new IdentityError('ERR_KEY_STORE', `cannot read ${this.#path}: ${errorText(thrown)}`, {
        cause: thrown,
      });
    }
    if (refused.trim() !== this.#digest(pin)) return;
    throw new IdentityError(
      'ERR_KEY_STORE',
      'the token has refused this PIN before, so that it is not tried again',
      { hint: `set the right PIN; if this is the right one now, remove ${this.#path}` },
    );
  }

  remember(pin: string): void {
    writeFileAtomic(this.#path, `${this.#digest(pin)}\n`, 0o600);
  }

  forget(): void {
    rmSync(this.#path, { force: true });
  }

  #digest(pin: string): string {
    return createHmac('sha256', this.#salt).update(pin).digest('hex').slice(0, 8);
  }
}
