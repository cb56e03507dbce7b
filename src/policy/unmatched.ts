import { readFileSync } from 'node:fs';
import { parseAccounts } from '../core/accounts.ts';
import { nearestWord } from '../core/nearest-word.ts';
import type { Selector } from '../identity/selector.ts';

/** What this daemon and this machine can say of a process. */
export interface Attestable {
  /** Names in the files that the attestor reads, and in no directory service. */
  readonly users: ReadonlySet<string>;
  readonly groups: ReadonlySet<string>;
  /** `attestation.unix.discover_path` */
  readonly discoverPath: boolean;
}

/** Types of SPIRE's attestors; entries for those that are not in this version may stand here already. */
const TYPES = ['unix', 'k8s', 'docker', 'systemd'];

type Judge = (value: string, machine: Attestable) => string | undefined;

const isId: Judge = (value) =>
  /^(?:0|[1-9]\d{0,9})$/.test(value) ? undefined : 'it takes a number without leading zeros';
const isUser: Judge = (value, { users }) =>
  users.has(value) ? undefined : 'this machine has no such user in /etc/passwd';
const isGroup: Judge = (value, { groups }) =>
  groups.has(value) ? undefined : 'this machine has no such group in /etc/group';
const isDiscovered =
  (form: RegExp, expected: string): Judge =>
  (value, { discoverPath }) =>
    !discoverPath
      ? 'attestation.unix.discover_path is not on'
      : form.test(value)
        ? undefined
        : `it takes ${expected}`;

/** The selectors that the unix attestor makes. */
const UNIX: Readonly<Record<string, Judge>> = {
  uid: isId,
  gid: isId,
  supplementary_gid: isId,
  user: isUser,
  group: isGroup,
  supplementary_group: isGroup,
  path: isDiscovered(/^\//, 'an absolute path'),
  sha256: isDiscovered(/^[0-9a-f]{64}$/, '64 hexadecimal digits in lower case'),
};

/** Why no process on this machine can have the selector, so that its entry never applies. */
export function neverMatches(selector: Selector, machine: Attestable): string | undefined {
  const [type = '', kind = ''] = selector.split(':', 2);
  const why = type === 'unix' ? judgeUnix(kind, selector, machine) : judgeType(type);
  return why && `${selector} matches no process: ${why}`;
}

/** Why a placeholder (`{type:key}` without its braces) has a value for no process on this machine. */
export function neverFilled(placeholder: string, machine: Attestable): string | undefined {
  const [type = '', kind = ''] = placeholder.split(':', 2);
  const why = type === 'unix' ? judgeFiller(kind, placeholder, machine) : judgeType(type);
  return why && `{${placeholder}} has a value for no process: ${why}`;
}

function judgeFiller(kind: string, placeholder: string, machine: Attestable): string | undefined {
  if (kind === 'path') return 'a path is not one segment of a SPIFFE ID';
  if (kind === 'sha256' && !machine.discoverPath) return 'attestation.unix.discover_path is not on';
  const known = Object.hasOwn(UNIX, kind);
  if (known && placeholder === `unix:${kind}`) return undefined;
  const near = known ? kind : nearestWord(kind, Object.keys(UNIX));
  return near ? `did you mean {unix:${near}}?` : `unix has ${Object.keys(UNIX).join(', ')}`;
}

function judgeUnix(kind: string, selector: Selector, machine: Attestable): string | undefined {
  const judge = Object.hasOwn(UNIX, kind) ? UNIX[kind] : undefined;
  if (judge) return judge(selector.slice(`unix:${kind}:`.length), machine);
  const near = nearestWord(kind, Object.keys(UNIX));
  return near ? `did you mean unix:${near}?` : `unix has ${Object.keys(UNIX).join(', ')}`;
}

function judgeType(type: string): string | undefined {
  if (TYPES.includes(type)) return undefined;
  const near = nearestWord(type, TYPES);
  return near ? `did you mean ${near}?` : `no attestor makes selectors of the type ${type}`;
}

/** The names of the accounts in a file such as `/etc/passwd`; of one that is not there, none. */
export function accountNames(path: string): ReadonlySet<string> {
  try {
    return new Set(parseAccounts(readFileSync(path, 'utf8')).values());
  } catch {
    return new Set();
  }
}
