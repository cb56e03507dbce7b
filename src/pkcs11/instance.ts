import { join } from 'node:path';
import { writeFileAtomic } from '../core/atomic-file.ts';
import { IdentityError } from '../core/errors.ts';
import type { Random } from '../core/random.ts';
import { ensurePrivateFolder, readPrivateFile } from '../issuer/private-files.ts';

const FORM = /^[0-9a-f]{16}\n$/;

/**
 * A name that this data folder has for its keys, drawn once. Daemons may share a token, also of the same
 * trust domain and with the same settings: each removes the keys that its journal does not name, and must
 * not see those of another.
 */
export function instanceOf(dataDir: string, random: Random): { id: string; isNew: boolean } {
  ensurePrivateFolder(dataDir);
  const path = join(dataDir, 'pkcs11-instance');
  const read = readPrivateFile(path, 64)?.toString('latin1');
  if (read === undefined) {
    const id = random.bytes(8).toString('hex');
    writeFileAtomic(path, `${id}\n`, 0o600);
    return { id, isNew: true };
  }
  if (FORM.test(read)) return { id: read.trim(), isNew: false };
  throw new IdentityError('ERR_KEY_STORE', `${path} is damaged: expected 16 hexadecimal digits`, {
    hint: 'restore data_dir from a backup; the label of the CA keys on the token ends with these digits',
  });
}
