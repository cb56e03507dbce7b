import { IdentityError } from '../core/errors.ts';
import { selector } from '../identity/selector.ts';
import type { Unit, Units } from './units.ts';

/** What is needed of a process. */
interface Peer {
  readonly credentials: { readonly pid: number; readonly uid: number };
  /** Its `/proc/<pid>/cgroup`; throws as the file system does. */
  cgroup(): string;
  hasExited(): boolean;
}

/** SPIRE's `systemd` selectors of a process in a unit; none of one that is in none. */
export function createSystemdAttestor(units: Pick<Units, 'unitOf'>) {
  return {
    name: 'systemd',
    async attest(peer: Peer, { signal }: { signal: AbortSignal }) {
      const cgroup = peer.cgroup();
      const { pid, uid } = peer.credentials;
      const unit = await units.unitOf(pid, { signal, uid });
      // A pid is free once its process is reaped: while that runs, the answer was about it.
      if (peer.hasExited()) throw gone('the process has ended');
      if (peer.cgroup() !== cgroup) throw gone('the process has moved to another cgroup');
      return {
        selectors: unit ? selectorsOf(unit) : [],
        agrees: () => peer.cgroup() === cgroup,
      };
    },
  } as const;
}

function selectorsOf({ id, fragmentPath }: Unit) {
  const selectors = [selector('systemd', `id:${id}`)];
  // A unit that is from no file has nothing there that an entry could rest on.
  if (fragmentPath !== '') selectors.push(selector('systemd', `fragment_path:${fragmentPath}`));
  return selectors;
}

function gone(why: string): IdentityError {
  return new IdentityError('ERR_PEER_GONE', why);
}
