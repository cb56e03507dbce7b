import { IdentityError } from '../core/errors.ts';
import { selector, type Selector } from '../identity/selector.ts';
import type { Attestor } from './attestor.ts';
import type { ExecutableReader } from './executable.ts';
import type { AccountNames } from './names.ts';
import { programAt } from './program.ts';
import { effectiveIds, supplementaryGroups, type Peer } from './peer.ts';

export interface UnixAttestorDeps {
  readonly names: () => AccountNames;
  /** Undefined: no `unix:path` and `unix:sha256`. */
  readonly executable: ExecutableReader | undefined;
}

/** The kernel allows 65,536, to unprivileged users too: more selectors than can be matched in time. */
const MAX_GROUPS = 4096;

/** SPIRE's `unix` selectors, from the process's own `/proc` folder. */
export function createUnixAttestor({ names, executable }: UnixAttestorDeps): Attestor {
  return {
    name: 'unix',
    attest(peer, options) {
      const status = peer.status();
      const selectors = accountSelectors(status, names());
      const groups = supplementaryGroups(status).join(' ');
      // Who has groups may drop them; to have gained some would only be to the process's loss.
      const checks = groups === '' ? {} : { agrees: () => hasGroups(peer, groups) };
      if (!executable) return { selectors, ...checks };
      return executable(peer, options).then(({ path, sha256, program }) => ({
        ...checks,
        selectors: [
          ...selectors,
          selector('unix', `path:${path}`),
          selector('unix', `sha256:${sha256}`),
        ],
        // exec replaces what runs, and leaves pid, start time and pidfd as they are.
        holds: () => programAt(peer.executableLink) === program,
      }));
    },
  };
}

function hasGroups(peer: Peer, groups: string): boolean {
  return supplementaryGroups(peer.status()).join(' ') === groups;
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
