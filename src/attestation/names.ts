import { readFileSync, statSync } from 'node:fs';

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

/** `name:password:id:…` lines; the first name of an id counts, as in the C library. */
export function parseAccounts(text: string): Map<number, string> {
  const names = new Map<number, string>();
  for (const line of text.split('\n')) {
    const [name = '', , id = ''] = line.split(':');
    if (name === '' || name.startsWith('#') || !/^\d{1,10}$/.test(id)) continue;
    if (!names.has(Number(id))) names.set(Number(id), name);
  }
  return names;
}
