import { IdentityError } from '../core/errors.ts';
import type { CgroupLine } from './lines.ts';
import { namesAPod } from './pod.ts';

export type Engine = 'docker' | 'podman';

/** The container a process is in, as its cgroup says. */
export interface ContainerPlace {
  readonly engine: Engine;
  /** 64 hex digits. */
  readonly id: string;
  /**
   * Whose engine has it, where that is a user's own; undefined: the machine's. Everything below a
   * user's own slice is that user's word, and so is the id.
   */
  readonly uid: number | undefined;
  /** The container's own cgroup, as segments: it ends with the container. */
  readonly path: readonly string[];
  /**
   * The name stands below a service, whose user may have made it: it counts only when the engine's
   * own process of that container is in the same cgroup.
   */
  readonly unproven: boolean;
}

/** Where containers are beside the usual places. */
export interface ContainerRoots {
  /** Paths, as segments, that an engine was told to put containers under. */
  readonly parents: readonly (readonly string[])[];
  /** Whether somebody else tells of pods; else a container in one is nobody's. */
  readonly podsFollowed: boolean;
}

const ID = '[0-9a-f]{64}';
const BARE = new RegExp(`^(${ID})$`);
const DOCKER_SCOPE = new RegExp(`^docker-(${ID})\\.scope$`);
const LIBPOD = new RegExp(`^libpod-(${ID})(?:\\.scope)?$`);
/** Of `podman run --cgroups=split`, as in the units that podman makes of `.container` files. */
const PAYLOAD = new RegExp(`^libpod-payload-(${ID})$`);
/** A runtime in cgroupfs mode that was given the path of a systemd unit. */
const COLON_FORM = new RegExp(`^[^:]+\\.slice:(docker|libpod):(${ID})$`);
/** podman's monitor of a container: a process of the engine, on the host. */
const MONITOR = new RegExp(`^(?:conmon|libpod-conmon-${ID}(?:\\.scope)?)$`);
const POD = new RegExp(`^(?:[a-z]+-libpod_pod_${ID}\\.slice|${ID})$`);
const USER = /^user-(\d{1,10})\.slice$/;

/** How engines of any kind name the cgroup of a container; podman's monitor is in none. */
const ANY_CONTAINER = new RegExp(`^(?!libpod-conmon-)(?:.*[-:])?(${ID})(?:\\.scope)?$`);

/** A name, and the same in an engine's own way of writing it, that no valid id follows. */
const LOOKS_LIKE_ONE = /^(?:docker[-:].*\.scope|libpod[-_].*|[^:]*:(?:docker|libpod):.*)$/;

/**
 * The container of docker or podman that a process is in, or undefined when it is in none. The
 * outermost counts, and only where an engine puts it: what is below a container, or below a user's
 * own slice, is called what somebody likes. Throws `ERR_ATTESTATION` when the lines disagree, or when
 * a process is where containers are and in none that has a name: it must not pass for one of the host.
 */
export function findContainer(
  lines: readonly CgroupLine[],
  roots: ContainerRoots,
): ContainerPlace | undefined {
  let found: ContainerPlace | undefined;
  const elsewhere: string[] = [];
  for (const { segments } of lines) {
    const place = placeOf(segments, roots);
    if (!place) {
      const id = unexpected(segments, roots);
      if (id !== undefined) elsewhere.push(id);
      continue;
    }
    found ??= place;
    if (place.id !== found.id || place.uid !== found.uid || place.engine !== found.engine) {
      throw new IdentityError(
        'ERR_ATTESTATION',
        'its cgroups put the process in several containers',
      );
    }
    // On another hierarchy the same container may be in an engine's own place.
    if (found.unproven && !place.unproven) found = place;
  }
  // A parent that is no absolute path is another one in each hierarchy.
  if (elsewhere.some((id) => id !== found?.id)) throw outOfPlace();
  return found;
}

function placeOf(path: readonly string[], { parents }: ContainerRoots): ContainerPlace | undefined {
  const [root = '', first = ''] = path;
  const colon = COLON_FORM.exec(root);
  if (colon?.[2] !== undefined) {
    return proven(colon[1] === 'docker' ? 'docker' : 'podman', colon[2], path.slice(0, 1));
  }
  const parent = parents.find((one) => one.every((segment, at) => path[at] === segment));
  if (parent) return belowParent(path, parent.length, { bare: true });
  switch (root) {
    case 'docker':
    case 'libpod_parent':
      return belowParent(path, 1, { bare: root === 'docker' });
    case 'machine.slice':
      return LOOKS_LIKE_ONE.test(first) || POD.test(first)
        ? belowParent(path, 1, { bare: false })
        : undefined;
    case 'system.slice':
      return LOOKS_LIKE_ONE.test(first) ? belowParent(path, 1, { bare: false }) : payload(path);
    case 'user.slice':
      return ofUser(path);
    default:
      if (LOOKS_LIKE_ONE.test(root)) throw unnamed();
      return undefined;
  }
}

/**
 * The id of a container where none is expected: an engine was told to put it where nobody told us of.
 * Below a user's own manager names mean nothing, and of pods others may tell.
 */
function unexpected(
  segments: readonly string[],
  { podsFollowed }: ContainerRoots,
): string | undefined {
  const [root, , manager = ''] = segments;
  if (root === 'user.slice' && manager.startsWith('user@')) return undefined;
  const inPod = /^kubepods(?:\.slice)?$/.test(root ?? '') || namesAPod(segments);
  if (inPod && podsFollowed) return undefined;
  for (const segment of segments) {
    const id = ANY_CONTAINER.exec(segment)?.[1];
    if (id !== undefined) return id;
  }
  return undefined;
}

/** What is below a cgroup that holds nothing but containers, and the pods of podman. */
function belowParent(
  path: readonly string[],
  depth: number,
  { bare }: { bare: boolean },
): ContainerPlace | undefined {
  const at = path[depth];
  if (at === undefined) throw unnamed();
  if (MONITOR.test(at)) return undefined;
  const docker = DOCKER_SCOPE.exec(at) ?? (bare ? BARE.exec(at) : null);
  if (docker?.[1] !== undefined) return proven('docker', docker[1], path.slice(0, depth + 1));
  const inPod = POD.test(at) ? depth + 1 : depth;
  const name = path[inPod] ?? '';
  if (MONITOR.test(name)) return undefined;
  const libpod = LIBPOD.exec(name);
  if (libpod?.[1] !== undefined) return proven('podman', libpod[1], path.slice(0, inPod + 1));
  throw unnamed();
}

function proven(engine: Engine, id: string, path: readonly string[]): ContainerPlace {
  return { engine, id, path, uid: undefined, unproven: false };
}

/** `/system.slice/NAME.service/libpod-payload-ID`, the service perhaps in a slice of its own. */
function payload(path: readonly string[]): ContainerPlace | undefined {
  const service = path.findIndex((segment) => !segment.endsWith('.slice'));
  if (!path[service]?.endsWith('.service')) return undefined;
  const id = PAYLOAD.exec(path[service + 1] ?? '')?.[1];
  if (id === undefined) return undefined;
  return {
    ...{ engine: 'podman', id, uid: undefined, unproven: true },
    path: path.slice(0, service + 2),
  };
}

/** `/user.slice/user-N.slice/user@N.service/…`: the outermost that looks like one of podman's. */
function ofUser(path: readonly string[]): ContainerPlace | undefined {
  const [, slice = '', manager] = path;
  const digits = USER.exec(slice)?.[1];
  if (digits === undefined || manager !== `user@${digits}.service`) return undefined;
  for (let at = 3; at < path.length; at++) {
    const match = LIBPOD.exec(path[at] ?? '') ?? PAYLOAD.exec(path[at] ?? '');
    if (match?.[1] === undefined) continue;
    const uid = Number(digits);
    return {
      ...{ engine: 'podman', id: match[1], uid, unproven: false },
      path: path.slice(0, at + 1),
    };
  }
  return undefined;
}

function outOfPlace(): IdentityError {
  return new IdentityError(
    'ERR_ATTESTATION',
    'the cgroup of the process is called like that of a container, where none are expected',
    {
      hint: 'attestation.docker.cgroup_parents names where docker and podman were told to put some',
    },
  );
}

function unnamed(): IdentityError {
  return new IdentityError(
    'ERR_ATTESTATION',
    'the process is where docker or podman has its containers, in none that credence can name',
  );
}
