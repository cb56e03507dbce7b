import { readFileSync, statSync } from 'node:fs';
import { parseAccounts } from '../core/accounts.ts';

/** Names of users and groups on this machine. */
export interface AccountNames {
  user(uid: number): string | undefined;
  group(gid: number): string | undefined;
}

/** Where the names stand. */
export interface AccountFiles {
  readonly passwd: string;
  readonly group: string;
}

/** The names as of now: the files are read again only when they have changed. */
export function createAccountNames(
  files: AccountFiles = { passwd: '/etc/passwd', group: '/etc/group' },
): () => AccountNames {
  const users = createTable(files.passwd);
  const groups = createTable(files.group);
  return () => {
    const [user, group] = [users(), groups()];
    return { user: (uid) => user.get(uid), group: (gid) => group.get(gid) };
  };
}

function createTable(path: string): () => ReadonlyMap<number, string> {
  let version = '';
  let names: ReadonlyMap<number, string> = new Map();
  return () => {
    const stats = statSync(path, { throwIfNoEntry: false });
    const now = stats ? `${stats.ino}.${stats.size}.${stats.mtimeMs}.${stats.ctimeMs}` : 'none';
    if (now === version) return names;
    names = stats ? parseAccounts(readFileSync(path, 'utf8')) : new Map();
    version = now;
    return names;
  };
}
