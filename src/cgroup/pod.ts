import { IdentityError } from '../core/errors.ts';
import type { CgroupLine } from './lines.ts';

/** Where a process is, as its cgroup says. */
export interface PodPlace {
  /** Lower-case UUID with dashes, or the 32 hex digits of a static pod's configuration. */
  readonly podUid: string;
  /** 64 hex digits; undefined: in the pod, and in none of its containers. */
  readonly containerId: string | undefined;
}

/** What the machine's administrator says of where pods are; nothing of it is guessed from a path. */
export interface PodRoots {
  /** What comes before them on this node, as `/docker/<id>` in a nested one; mostly nothing. */
  readonly prefix: readonly string[];
  /** Values of the kubelet's `--cgroup-root`, without slashes, as `kubelet` in kind. */
  readonly kubeletRoots: readonly string[];
  /** Units under which a runtime puts containers that it names with colons. */
  readonly runtimeUnits: readonly string[];
}

const UUID = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}';
const HASH = '[0-9a-f]{32}';
const UNDERSCORED = UUID.replaceAll('}-', '}_');
const ID = '[0-9a-f]{64}';
const QOS = ['burstable', 'besteffort'];

const CGROUPFS_POD = new RegExp(`^pod(${UUID}|${HASH})$`);
const CGROUPFS_CONTAINER = new RegExp(`^(?:(?:crio|libpod)-)?(${ID})$`);
const SYSTEMD_POD = new RegExp(`^pod(${UNDERSCORED}|${HASH})\\.slice$`);
const SYSTEMD_CONTAINER = new RegExp(`^(?:cri-containerd|crio|docker|libpod)-(${ID})\\.scope$`);
/** containerd that was given a systemd path while its runtime is in cgroupfs mode. */
const COLON_FORM = new RegExp(
  `^kubepods(?:-(?:burstable|besteffort))?-pod(${UNDERSCORED}|${HASH})\\.slice:cri-containerd:(${ID})$`,
);

/** The name of a pod's cgroup, wherever it stands and whatever stands before it. */
const POD_SHAPED = new RegExp(`(?:^|-)pod(?:${UUID}|${UNDERSCORED}|${HASH})(?:\\.slice)?(?::|$)`);

/** Whether one of the segments is called what a pod's cgroup is called. */
export function namesAPod(segments: readonly string[]): boolean {
  return segments.some((segment) => POD_SHAPED.test(segment));
}

/**
 * The pod a process is in, or undefined when it is in none. The outermost pod counts, and its
 * container is the very next segment: whoever may make cgroups below its own can call them what it
 * likes. Throws `ERR_ATTESTATION` when the lines disagree, or when a process is below the root of
 * all pods in a way that names none, or where no pods are known to be and in a cgroup with the name of
 * one: it must not pass for one of the host's own.
 */
export function findPod(lines: readonly CgroupLine[], roots: PodRoots): PodPlace | undefined {
  let found: PodPlace | undefined;
  for (const { segments } of lines) {
    const place = placeOf(segments, roots);
    if (!place) {
      refuseUnknownRoot(segments);
      continue;
    }
    found ??= place;
    if (place.podUid !== found.podUid || place.containerId !== found.containerId) {
      throw new IdentityError('ERR_ATTESTATION', 'its cgroups put the process in several pods');
    }
  }
  return found;
}

function placeOf(all: readonly string[], roots: PodRoots): PodPlace | undefined {
  const { prefix, kubeletRoots, runtimeUnits } = roots;
  if (!prefix.every((segment, at) => all[at] === segment)) return undefined;
  const segments = all.slice(prefix.length);
  const [root, unit = '', below = ''] = segments;
  if (root === undefined) return undefined;
  if (root === 'system.slice') return runtimeUnits.includes(unit) ? colonForm(below) : undefined;
  const colon = colonForm(root);
  if (colon) return colon;
  if (root === 'kubepods') return cgroupfs(segments.slice(1));
  if (root === 'kubepods.slice') return systemd(segments.slice(1), 'kubepods');
  for (const name of kubeletRoots) {
    if (root === name && unit === 'kubepods') return cgroupfs(segments.slice(2));
    if (root === `${name}.slice` && unit === `${name}-kubepods.slice`) {
      return systemd(segments.slice(2), `${name}-kubepods`);
    }
  }
  return undefined;
}

/** Below a user's own manager names mean nothing; elsewhere pods have a root that nobody told of. */
function refuseUnknownRoot(segments: readonly string[]): void {
  const [root, , manager = ''] = segments;
  if (root === 'user.slice' && manager.startsWith('user@')) return;
  if (!namesAPod(segments)) return;
  throw new IdentityError('ERR_ATTESTATION', 'the process is in a pod, where none is expected', {
    hint: 'attestation.kubernetes.cgroup_roots, cgroup_prefix and runtime_units say where pods are',
  });
}

function colonForm(segment: string): PodPlace | undefined {
  const match = COLON_FORM.exec(segment);
  if (match?.[1] === undefined) return undefined;
  return { podUid: dashed(match[1]), containerId: match[2] };
}

function cgroupfs([first, ...rest]: readonly string[]): PodPlace {
  const [pod, container] = QOS.includes(first ?? '') ? rest : [first, rest[0]];
  return place(CGROUPFS_POD.exec(pod ?? ''), CGROUPFS_CONTAINER.exec(container ?? ''));
}

/** Each slice repeats its parent's name, so the class in the pod's name is that of its parent. */
function systemd([first, ...rest]: readonly string[], root: string): PodPlace {
  const qos = QOS.find((name) => first === `${root}-${name}.slice`);
  const parent = qos === undefined ? root : `${root}-${qos}`;
  const [pod = '', container] = qos === undefined ? [first, rest[0]] : rest;
  const name = pod.startsWith(`${parent}-`) ? pod.slice(parent.length + 1) : '';
  return place(SYSTEMD_POD.exec(name), SYSTEMD_CONTAINER.exec(container ?? ''));
}

function place(pod: RegExpExecArray | null, container: RegExpExecArray | null): PodPlace {
  if (pod?.[1] === undefined) {
    throw new IdentityError(
      'ERR_ATTESTATION',
      'the process is below the cgroup of all pods, in none that credence can name',
    );
  }
  return { podUid: dashed(pod[1]), containerId: container?.[1] };
}

function dashed(uid: string): string {
  return uid.replaceAll('_', '-');
}
