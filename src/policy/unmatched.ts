import { readFileSync } from 'node:fs';
import { parseAccounts } from '../core/accounts.ts';
import { nearestWord } from '../core/nearest-word.ts';
import type { Selector } from '../identity/selector.ts';
import { unixIdFault } from './unix-id.ts';

/** The names of users or groups, each with the ids that bear it. */
export type Accounts = ReadonlyMap<string, ReadonlySet<number>>;

/** What this daemon and this machine can say of a process. */
export interface Attestable {
  /** As in the files that the attestor reads, and in no directory service. */
  readonly users: Accounts;
  readonly groups: Accounts;
  /** `attestation.unix.discover_path` */
  readonly discoverPath: boolean;
  /** `attestation.kubernetes.enabled` */
  readonly kubernetes?: boolean;
}

/** What the configuration says of it. */
export type Attests = Pick<Attestable, 'discoverPath' | 'kubernetes'>;

/** Types of SPIRE's attestors. */
const TYPES = ['unix', 'k8s', 'docker', 'systemd'];
/** What follows `k8s:`; SPIRE's, without those of image signatures and of namespaces. */
const K8S = [
  ...['sa', 'ns', 'node-name', 'pod-uid', 'pod-name', 'pod-label', 'pod-owner', 'pod-owner-uid'],
  ...['pod-image', 'pod-image-count', 'pod-init-image', 'pod-init-image-count'],
  ...['container-name', 'container-image'],
];

type Judge = (value: string, machine: Attestable) => string | undefined;

const isId =
  (kind: string): Judge =>
  (value) =>
    unixIdFault(kind, value) ??
    (/^0\d/.test(value) ? 'it takes a number without leading zeros' : undefined);
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
  uid: isId('uid'),
  gid: isId('gid'),
  supplementary_gid: isId('supplementary_gid'),
  user: isUser,
  group: isGroup,
  supplementary_group: isGroup,
  path: isDiscovered(/^\//, 'an absolute path'),
  sha256: isDiscovered(/^[0-9a-f]{64}$/, '64 hexadecimal digits in lower case'),
};

/** Why no process on this machine can have the selector, so that its entry never applies. */
export function neverMatches(selector: Selector, machine: Attestable): string | undefined {
  const [type = '', kind = ''] = selector.split(':', 2);
  const why =
    type === 'unix'
      ? judgeUnix(kind, selector, machine)
      : judgeType(type, kind, machine, `unix:${selector}`);
  return why && `${selector} matches no process: ${why}`;
}

/** Why a placeholder (`{type:key}` without its braces) has a value for no process on this machine. */
export function neverFilled(placeholder: string, machine: Attestable): string | undefined {
  const [type = '', kind = ''] = placeholder.split(':', 2);
  const why =
    type === 'unix'
      ? judgeFiller(kind, placeholder, machine)
      : judgeType(type, kind, machine, `{unix:${type}}`);
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
  const value = selector.slice(`unix:${kind}:`.length);
  if (judge) return value === '' ? 'it has no value' : judge(value, machine);
  const near = nearestWord(kind, Object.keys(UNIX));
  return near ? `did you mean unix:${near}?` : `unix has ${Object.keys(UNIX).join(', ')}`;
}

/** @param meant what is right when the type is a kind of `unix` */
function judgeType(
  type: string,
  kind: string,
  machine: Attestable,
  meant: string,
): string | undefined {
  const off = offType(type, machine);
  if (off !== undefined) return noAttestor(off);
  if (type === 'k8s') return judgeK8s(kind);
  // `uid:0` is how SPIRE's JSON has it beside the type.
  if (Object.hasOwn(UNIX, type)) return `did you mean ${meant}?`;
  const near = nearestWord(type, TYPES);
  return near ? `did you mean ${near}?` : `no attestor makes selectors of the type ${type}`;
}

/** The type of a selector or placeholder that an attestor makes which this daemon does not have on. */
export function offType(text: string, { kubernetes }: Attestable): string | undefined {
  const [type = ''] = text.split(':', 1);
  // Of the unix attestor there is no daemon without: nobody would be attested.
  const isOn = type === 'unix' || (type === 'k8s' && kubernetes === true);
  return !isOn && TYPES.includes(type) ? type : undefined;
}

function judgeK8s(kind: string): string | undefined {
  if (K8S.includes(kind)) return undefined;
  const near = nearestWord(kind, K8S);
  return near ? `did you mean k8s:${near}?` : `k8s has ${K8S.join(', ')}`;
}

/** Why nothing has a selector of such a type. */
export function noAttestor(type: string): string {
  return `no attestor that is enabled makes ${type}`;
}

/** What can be said of a process on this machine, now. */
export function attestableHere(attests: Attests): Attestable {
  return { users: accounts('/etc/passwd'), groups: accounts('/etc/group'), ...attests };
}

/** The accounts in a file such as `/etc/passwd`; of one that is not there, none. */
export function accounts(path: string): Accounts {
  const ids = new Map<string, Set<number>>();
  try {
    for (const [id, name] of parseAccounts(readFileSync(path, 'utf8'))) {
      const known = ids.get(name);
      if (known) known.add(id);
      else ids.set(name, new Set([id]));
    }
  } catch {
    // Then the attestor knows no name either.
  }
  return ids;
}
