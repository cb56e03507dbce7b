import { readdirSync, unlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { writeFileAtomic } from '../core/atomic-file.ts';
import { errorText, IdentityError } from '../core/errors.ts';
import type { CaState } from './ca-state.ts';
import { formatJournal, parseJournal } from './journal-text.ts';
import { readPrivateFile } from './private-files.ts';

const MAX_BYTES = 1_048_576;

/** The record of authorities; `write` replaces it whole or leaves it alone (`ERR_DISK`). */
export interface Journal {
  /** For messages. */
  readonly path: string;
  /** Undefined when there is none yet; `ERR_KEY_STORE` when it cannot be trusted. */
  read(): CaState | undefined;
  write(state: CaState): void;
}

/** The journal as a file, 0600. */
export function createDiskJournal(path: string): Journal {
  removeLeftovers(path);
  return {
    path,
    read() {
      const bytes = readPrivateFile(path, MAX_BYTES);
      return bytes && parseJournal(bytes.toString('utf8'), path);
    },
    write: (state) => writeFileAtomic(path, formatJournal(state), 0o600),
  };
}

/** A journal for keys that are not kept either. */
export function createMemoryJournal(): Journal {
  let kept: CaState | undefined;
  return { path: 'memory', read: () => kept, write: (state) => void (kept = state) };
}

function removeLeftovers(path: string): void {
  const prefix = `${basename(path)}.tmp-`;
  const folder = dirname(path);
  try {
    for (const name of readdirSync(folder)) {
      if (name.startsWith(prefix)) unlinkSync(join(folder, name));
    }
  } catch (thrown) {
    throw new IdentityError('ERR_KEY_STORE', `cannot tidy ${folder}: ${errorText(thrown)}`, {
      cause: thrown,
    });
  }
}
