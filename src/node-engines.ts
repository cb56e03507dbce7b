import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { AskedSockets } from './asked-sockets.ts';
import type { Attestor } from './attestation/attestor.ts';
import { createKernel } from './attestation/native.ts';
import { startTime } from './attestation/peer.ts';
import { findContainer, type ContainerRoots } from './cgroup/container.ts';
import { parseCgroupLines } from './cgroup/lines.ts';
import { requireHostView } from './cgroup/own-view.ts';
import type { DockerConfig, SystemdConfig } from './config-engines.ts';
import { createContainerAttestor } from './containers/attestor.ts';
import { createContainers, type Init } from './containers/containers.ts';
import { inspect } from './containers/engine.ts';
import type { Clock } from './core/clock.ts';
import { createSystemdAttestor } from './systemd/attestor.ts';
import { openBus } from './systemd/bus.ts';
import { createUnits } from './systemd/units.ts';

/** Who says it of a process, as long as it is not closed. */
export interface AskedAttestor {
  readonly attestor: Attestor;
  close(): void;
}

/**
 * Throws `ERR_ATTESTATION` where the cgroups of containers cannot be seen.
 * @param podsFollowed whether another attestor tells of processes in pods
 * @param told hears of an engine whether it could be asked
 */
export function askEngines(
  config: DockerConfig,
  podsFollowed: boolean,
  clock: Clock,
  told?: AskedSockets['told'],
): AskedAttestor {
  requireHostView();
  const roots = { parents: config.cgroupParents, podsFollowed };
  const kernel = createKernel();
  const peerUid = (socket: Socket) => kernel.peerCredentials(descriptorOf(socket)).uid;
  const containers = createContainers({
    paths: {
      docker: config.socketPath,
      podman: config.podmanSocketPath,
      rootless: config.podmanSocketPathTemplate,
    },
    inspect: (engine, id, options) =>
      inspect(engine, id, { clock, peerUid, ...(told ? { told } : {}) }, options),
    initOf: (pid) => initOf(pid, roots),
    clock,
  });
  const rootless = config.podmanSocketPathTemplate !== '';
  return {
    attestor: createContainerAttestor({ roots, containers, rootless }),
    close: () => containers.close(),
  };
}

/** systemd is asked when somebody connects: it need not be there at the start. */
export function askSystemd(
  { busPath }: SystemdConfig,
  clock: Clock,
  told?: AskedSockets['told'],
): AskedAttestor {
  const units = createUnits({
    path: busPath,
    open: (options) => openBus(busPath, options),
    clock,
    told: (why) => told?.(busPath, why),
  });
  return { attestor: createSystemdAttestor(units), close: () => units.close() };
}

function initOf(pid: number, roots: ContainerRoots): Init | undefined {
  try {
    const cgroup = readFileSync(`/proc/${pid}/cgroup`, 'latin1');
    return {
      startTicks: Number(startTime(readFileSync(`/proc/${pid}/stat`, 'latin1'))),
      place: findContainer(parseCgroupLines(cgroup), roots),
    };
  } catch {
    return undefined;
  }
}

/** Node offers no public way to it. */
function descriptorOf(socket: Socket): number {
  const handle: unknown = Reflect.get(socket, '_handle');
  const fd: unknown =
    typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : -1;
  return typeof fd === 'number' ? fd : -1;
}
