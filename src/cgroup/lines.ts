import { IdentityError } from '../core/errors.ts';

/** The path of a process in one hierarchy, cut at its slashes; no segments: the root. */
export interface CgroupLine {
  /** `name=systemd`, `memory` …; none of cgroup v2. */
  readonly controllers: string;
  readonly segments: readonly string[];
}

/** The kernel knows no more than a dozen hierarchies. */
const MAX_LINES = 64;

/**
 * Reads `/proc/<pid>/cgroup` (latin-1: the kernel passes any byte but a newline through). Nothing is
 * normalised: a name may hold colons, blanks and backslashes, and is what somebody called it.
 * Throws `ERR_PEER_GONE` when the cgroup is removed, as it is under a zombie, and `ERR_ATTESTATION`
 * when the paths are relative to another cgroup namespace or the text is something else.
 */
export function parseCgroupLines(text: string): readonly CgroupLine[] {
  const lines = text.split('\n', MAX_LINES + 2);
  if (lines.pop() !== '' || lines.length > MAX_LINES) throw malformed();
  return lines.map(parseLine);
}

function parseLine(line: string): CgroupLine {
  // A path may hold colons itself: only the first two are the kernel's.
  const match = /^(\d+):([^:]*):(\/.*)$/s.exec(line);
  if (!match) throw malformed();
  const [, , controllers = '', path = ''] = match;
  if (path.endsWith(' (deleted)')) {
    throw new IdentityError('ERR_PEER_GONE', 'the cgroup of the process is removed');
  }
  const segments = path === '/' ? [] : path.slice(1).split('/');
  if (segments.includes('..')) throw outOfSight();
  return { controllers, segments };
}

function malformed(): IdentityError {
  return new IdentityError('ERR_ATTESTATION', '/proc/<pid>/cgroup does not read as expected');
}

/** Paths with `..` are shown to a reader that is in a cgroup namespace of its own. */
function outOfSight(): IdentityError {
  return new IdentityError(
    'ERR_ATTESTATION',
    'credence runs in a cgroup namespace of its own and cannot see which pod a process is in',
    { hint: 'start it in that of the host, as the image does: it takes SYS_ADMIN and SYS_PTRACE' },
  );
}
