import { readFileSync, statSync } from 'node:fs';

/** Names of users and groups on this machine. */
export interface AccountNames {
  user(uid: number): string | undefined;
  group(gid: number): string | undefined;
}

/** Reads `/etc/passwd` and `/etc/group`, again only when they have changed. */
export function createAccountNames(
  files: { passwd: string; group: string } = { passwd: '/etc/passwd', group: '/etc/group' },
): AccountNames {
  const users = createTable(files.passwd);
  const groups = createTable(files.group);
  return { user: users, group: groups };
}

function createTable(path: string): (id: number) => string | undefined {
  let version = '';
  let names = new Map<number, string>();
  return (id) => {
    const stats = statSync(path, { throwIfNoEntry: false });
    if (!stats) return undefined;
    const now = `${stats.ino}.${stats.size}.${stats.mtimeMs}.${stats.ctimeMs}`;
    if (now !== version) {
      names = parseAccounts(readFileSync(path, 'utf8'));
      version = now;
    }
    return names.get(id);
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
