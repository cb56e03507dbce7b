import { selector, type Selector } from '../identity/selector.ts';
import type { Attestor } from './attestor.ts';
import type { ExecutableReader } from './executable.ts';
import type { AccountNames } from './names.ts';
import { effectiveIds, supplementaryGroups } from './peer.ts';

export interface UnixAttestorDeps {
  readonly names: () => AccountNames;
  /** Undefined: no `unix:path` and `unix:sha256`. */
  readonly executable: ExecutableReader | undefined;
}

/** SPIRE's `unix` selectors, from the process's own `/proc` folder. */
export function createUnixAttestor({ names, executable }: UnixAttestorDeps): Attestor {
  return {
    name: 'unix',
    attest(peer, options) {
      const selectors = accountSelectors(peer.status(), names());
      if (!executable) return selectors;
      return executable(peer, options).then(({ path, sha256 }) => [
        ...selectors,
        selector('unix', `path:${path}`),
        selector('unix', `sha256:${sha256}`),
      ]);
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
  for (const id of supplementaryGroups(status)) {
    selectors.push(selector('unix', `supplementary_gid:${id}`));
    add('supplementary_group', names.group(id));
  }
  return selectors;
}
