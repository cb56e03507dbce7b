import type { Get } from './config-values.ts';
import { MAX_SOCKET_PATH_BYTES } from './core/unix-socket.ts';
import type { Complain } from './read-settings.ts';

/** Where the container engines of this node are asked, and where their cgroups are. */
export interface DockerConfig {
  /** Empty: there is no such engine. */
  readonly socketPath: string;
  readonly podmanSocketPath: string;
  /** With one `%d`; empty: users' own containers are not asked about. */
  readonly podmanSocketPathTemplate: string;
  /** Each as the segments of a path. */
  readonly cgroupParents: readonly (readonly string[])[];
}

export interface SystemdConfig {
  readonly busPath: string;
}

/** Undefined unless it is enabled. */
export function buildDocker(
  get: Get,
  absolute: (path: string) => string,
  complain: Complain,
): DockerConfig | undefined {
  if (!get<boolean>('attestation.docker.enabled')) return undefined;
  const pathOf = (key: string) => {
    const text = get(key);
    const path = text === '' ? '' : absolute(text.replace(/^unix:\/\//, ''));
    if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) {
      complain(key, `a socket path has at most ${MAX_SOCKET_PATH_BYTES} bytes`);
    }
    return path;
  };
  const docker = {
    socketPath: pathOf('attestation.docker.socket_path'),
    podmanSocketPath: pathOf('attestation.docker.podman_socket_path'),
    podmanSocketPathTemplate: pathOf('attestation.docker.podman_socket_path_template'),
    cgroupParents: get<string[]>('attestation.docker.cgroup_parents').map((path) =>
      path.split('/').filter(Boolean),
    ),
  };
  const template = docker.podmanSocketPathTemplate;
  if (template !== '' && !/^[^%]*%d[^%]*$/.test(template)) {
    const expected = 'expected %d, once, for the number of the user';
    complain('attestation.docker.podman_socket_path_template', expected);
  }
  if (docker.cgroupParents.some((path) => path.length === 0)) {
    complain('attestation.docker.cgroup_parents', 'expected paths such as /shop.slice');
  }
  return docker;
}

/** Undefined unless it is enabled. */
export function buildSystemd(
  get: Get,
  absolute: (path: string) => string,
): SystemdConfig | undefined {
  if (!get<boolean>('attestation.systemd.enabled')) return undefined;
  return { busPath: absolute(get('attestation.systemd.bus_path')) };
}
