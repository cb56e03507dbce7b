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
  /** `attestation.kubernetes.namespace_labels` */
  readonly namespaceLabels?: boolean;
  /** `attestation.kubernetes.container_selectors`; on unless it is said to be off. */
  readonly containerSelectors?: boolean;
  /** `attestation.docker.enabled` */
  readonly docker?: boolean;
  /** Users' own containers are asked about too. */
  readonly rootlessPodman?: boolean;
  /** `attestation.systemd.enabled` */
  readonly systemd?: boolean;
}

/** What the configuration says of it. */
export type Attests = Omit<Attestable, 'users' | 'groups'>;

/** Of a daemon that looks for everything. */
export const ALL_ATTESTORS: Attests = {
  discoverPath: true,
  kubernetes: true,
  namespaceLabels: true,
  docker: true,
  systemd: true,
};

/** Types of SPIRE's attestors, and whether they are on. */
const TYPES: Readonly<Record<string, (machine: Attestable) => boolean>> = {
  // There is no daemon without: nobody would be attested.
  unix: () => true,
  k8s: ({ kubernetes }) => kubernetes === true,
  docker: ({ docker }) => docker === true,
  systemd: ({ systemd }) => systemd === true,
};
/** What follows `k8s:`; SPIRE's, without those of image signatures. */
const K8S = [
  ...['sa', 'ns', 'node-name', 'pod-uid', 'pod-name', 'pod-owner', 'pod-owner-uid'],
  ...['pod-image', 'pod-image-count', 'pod-init-image', 'pod-init-image-count'],
  ...['pod-label', 'ns-label', 'container-name', 'container-image'],
];
/** What follows `docker:` and `systemd:`, and the form of what follows that. */
const FORMS = {
  docker: {
    label: [/^[^:]+:/, 'a name and a value, as in docker:label:app:web'],
    env: [/=/, 'a variable and its value, as in docker:env:STAGE=production'],
    image_id: [/./, 'the image as the container was made from it, as in docker:image_id:web:1'],
    image_config_digest: [
      /^sha256:[0-9a-f]{64}$/,
      'sha256: and 64 hexadecimal digits in lower case',
    ],
  },
  systemd: {
    id: [/\.[a-z]+$/, 'the whole name of a unit, as in systemd:id:web.service'],
    fragment_path: [/^\//, 'an absolute path'],
  },
} as const satisfies Record<string, Record<string, readonly [RegExp, string]>>;

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
      : (judgeType(type, kind, machine, `unix:${selector}`) ?? judgeForm(type, kind, selector));
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
  if (type === 'k8s') return judgeKind(type, kind, K8S) ?? judgePod(kind, machine);
  if (type === 'docker' || type === 'systemd') {
    return judgeKind(type, kind, Object.keys(FORMS[type]));
  }
  // `uid:0` is how SPIRE's JSON has it beside the type.
  if (Object.hasOwn(UNIX, type)) return `did you mean ${meant}?`;
  const near = nearestWord(type, Object.keys(TYPES));
  return near ? `did you mean ${near}?` : `no attestor makes selectors of the type ${type}`;
}

/** The type of a selector or placeholder that an attestor makes which this daemon does not have on. */
export function offType(text: string, machine: Attestable): string | undefined {
  const [type = ''] = text.split(':', 1);
  const isOn = Object.hasOwn(TYPES, type) ? TYPES[type] : undefined;
  return isOn && !isOn(machine) ? type : undefined;
}

function judgePod(
  kind: string,
  { namespaceLabels, containerSelectors }: Attestable,
): string | undefined {
  if (kind === 'ns-label' && namespaceLabels !== true) {
    return 'attestation.kubernetes.namespace_labels is not on';
  }
  return kind.startsWith('container-') && containerSelectors === false
    ? 'attestation.kubernetes.container_selectors is off'
    : undefined;
}

function judgeKind(type: string, kind: string, kinds: readonly string[]): string | undefined {
  if (kinds.includes(kind)) return undefined;
  const near = nearestWord(kind.replace(/=.*/, ''), kinds);
  return near ? `did you mean ${type}:${near}?` : `${type} has ${kinds.join(', ')}`;
}

/** Of a type and kind that are known. */
function judgeForm(type: string, kind: string, selector: Selector): string | undefined {
  const forms: Readonly<Record<string, readonly [RegExp, string]>> =
    type === 'docker' || type === 'systemd' ? FORMS[type] : {};
  const [form, expected] = (Object.hasOwn(forms, kind) && forms[kind]) || [];
  if (!form || form.test(selector.slice(`${type}:${kind}:`.length))) return undefined;
  return `it takes ${expected}`;
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
