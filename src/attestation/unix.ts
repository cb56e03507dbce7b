import { IdentityError } from '../core/errors.ts';
import { selector, type Selector } from '../identity/selector.ts';
import type { Attestor, Evidence } from './attestor.ts';
import type { ExecutableReader } from './executable.ts';
import type { AccountNames } from './names.ts';
import { programAt } from './program.ts';
import { effectiveIds, groupsLine, supplementaryGroups, type Peer } from './peer.ts';

export interface UnixAttestorDeps {
  readonly names: () => AccountNames;
  /** Undefined: no `unix:path` and `unix:sha256`. */
  readonly executable: ExecutableReader | undefined;
}

/** The kernel allows 65,536, to unprivileged users too: more selectors than can be kept for thousands of processes. */
const MAX_GROUPS = 1024;

/** SPIRE's `unix` selectors, from the process's own `/proc` folder. */
export function createUnixAttestor({ names, executable }: UnixAttestorDeps): Attestor {
  return {
    name: 'unix',
    attest(peer, options) {
      const account = createAccount(peer, names);
      if (!executable) return account;
      return executable(peer, options).then(({ path, sha256, program }) => {
        const more = [selector('unix', `path:${path}`), selector('unix', `sha256:${sha256}`)];
        return {
          selectors: [...account.selectors, ...more],
          agrees: account.agrees,
          follow: (tell) =>
            account.follow((now) => tell(now instanceof IdentityError ? now : [...now, ...more])),
          // exec replaces what runs, and leaves pid, start time and pidfd as they are.
          holds: () => programAt(peer.executableLink) === program,
        };
      });
    },
  };
}

/**
 * User and groups of a process. It keeps its user, or it is another one; supplementary groups it may
 * drop or gain, and nobody tells: a look that finds others tells of the selectors that hold now.
 */
function createAccount(peer: Peer, names: () => AccountNames): Required<Omit<Evidence, 'holds'>> {
  const status = peer.status();
  const selectors = accountSelectors(status, names());
  let groups = groupsLine(status);
  let changed: ((now: readonly Selector[]) => void) | undefined;
  return {
    selectors,
    agrees() {
      const now = peer.status();
      if (groupsLine(now) === groups) return true;
      // Nobody follows yet: what is being gathered is of either.
      if (!changed) return false;
      const current = accountSelectors(now, names());
      groups = groupsLine(now);
      changed(current);
      return true;
    },
    follow(tell) {
      changed = tell;
      return () => (changed = undefined);
    },
  };
}

/** The selectors of a `/proc/<pid>/status`; names that the machine does not know are left out. */
export function accountSelectors(status: string, names: AccountNames): Selector[] {
  const { uid, gid } = effectiveIds(status);
  const selectors = [selector('unix', `uid:${uid}`), selector('unix', `gid:${gid}`)];
  const add = (kind: string, name: string | undefined) => {
    if (name !== undefined) selectors.push(selector('unix', `${kind}:${name}`));
  };
  add('user', names.user(uid));
  add('group', names.group(gid));
  const groups = supplementaryGroups(status);
  if (groups.length > MAX_GROUPS) {
    const count = `${groups.length} supplementary groups, at most ${MAX_GROUPS} are looked at`;
    throw new IdentityError('ERR_ATTESTATION', `the process has ${count}`);
  }
  for (const id of groups) {
    selectors.push(selector('unix', `supplementary_gid:${id}`));
    add('supplementary_group', names.group(id));
  }
  return selectors;
}
