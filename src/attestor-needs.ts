import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { requireHostView } from './cgroup/own-view.ts';
import type { Config } from './config.ts';
import type { Clock } from './core/clock.ts';
import { errorText, systemCode, toIdentityError, type IdentityError } from './core/errors.ts';
import { connectFault } from './core/socket-fault.ts';
import { ATTESTATION_SETTINGS } from './settings-attestation.ts';

/** A file or socket without which an attestor that is on can say nothing. */
export interface Need {
  readonly attestor: 'kubernetes' | 'docker' | 'systemd';
  readonly kind: 'file' | 'socket';
  readonly path: string;
  /** The setting that names it. */
  readonly key: string;
}

/** One that is not there, or not for us, now. */
export interface Unmet {
  readonly need: Need;
  readonly why: string;
}

type Attestation = Config['attestation'];

export function needsOf(config: Pick<Config, 'attestation' | 'clusterPolicy'>): readonly Need[] {
  return [...filesOf(config), ...socketsOf(config.attestation)];
}

/** Where the engines and systemd listen; not those of users, who come and go. */
export function socketsOf({ docker, systemd }: Attestation): readonly Need[] {
  const socket = (attestor: Need['attestor'], path: string, key: string): Need[] =>
    path === '' ? [] : [{ attestor, kind: 'socket', path, key: `attestation.${attestor}.${key}` }];
  return [
    ...(docker ? socket('docker', docker.socketPath, 'socket_path') : []),
    ...(docker ? socket('docker', docker.podmanSocketPath, 'podman_socket_path') : []),
    ...(systemd ? socket('systemd', systemd.busPath, 'bus_path') : []),
  ];
}

/** What the API server and the kubelet are verified with, and the token that they are shown. */
function filesOf({
  attestation: { kubernetes },
  clusterPolicy,
}: Pick<Config, 'attestation' | 'clusterPolicy'>): readonly Need[] {
  if (!kubernetes) return [];
  const { kubelet, caFile, tokenFile, namespaceLabels } = kubernetes;
  const asksServer = !kubelet || namespaceLabels || clusterPolicy.watched;
  const file = (path: string, key: string): Need => ({
    ...{ attestor: 'kubernetes', kind: 'file', path },
    key: `attestation.kubernetes.${key}`,
  });
  const verified = kubelet?.access === 'verified';
  const named = verified && kubelet.caFile !== caFile;
  const takesToken = asksServer || kubelet.access !== 'insecure_read_only_port';
  return [
    ...(asksServer || (verified && !named) ? [file(caFile, 'ca_file')] : []),
    ...(named ? [file(kubelet.caFile, 'kubelet_ca_file')] : []),
    ...(takesToken ? [file(tokenFile, 'token_file')] : []),
  ];
}

/** Those that are not met. Connects to sockets, and never rejects. */
export async function unmetOf(needs: readonly Need[], clock: Clock): Promise<readonly Unmet[]> {
  const looks = needs.map(async (need): Promise<Unmet[]> => {
    const fault =
      need.kind === 'socket' ? await connectFault(need.path, clock) : fileFault(need.path);
    return fault === undefined ? [] : [{ need, why: fault }];
  });
  return withoutSpare(needs, (await Promise.all(looks)).flat());
}

/** Files alone, at once. */
export function unmetFiles(
  config: Pick<Config, 'attestation' | 'clusterPolicy'>,
): readonly Unmet[] {
  return filesOf(config).flatMap((need) => {
    const why = fileFault(need.path);
    return why === undefined ? [] : [{ need, why }];
  });
}

/** A node has docker or podman: the one that nobody named is not missed where the other answers. */
export function withoutSpare(needs: readonly Need[], unmet: readonly Unmet[]): readonly Unmet[] {
  const answers = needs.some(
    (need) => need.attestor === 'docker' && !unmet.some((one) => one.need === need),
  );
  return unmet.filter(({ need }) => !(answers && need.attestor === 'docker' && isDefault(need)));
}

const isDefault = ({ key, path }: Need) =>
  ATTESTATION_SETTINGS.some((one) => one.key === key && one.fallback === path);

/** Why a start fails: processes in containers could not be told from others. */
export function cgroupFault({ kubernetes, docker }: Attestation): IdentityError | undefined {
  if (!kubernetes && !docker) return undefined;
  try {
    requireHostView();
    return undefined;
  } catch (thrown) {
    // It may be hidden from this user, and shown to the daemon's.
    if (systemCode(thrown) !== undefined) return undefined;
    return toIdentityError(thrown, 'ERR_ATTESTATION');
  }
}

const FILE_FAULTS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'there is no such file',
  EACCES: 'this user may not read it',
};

function fileFault(path: string): string | undefined {
  try {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stats = fstatSync(fd);
      if (!stats.isFile()) return 'it is no file';
      return stats.size === 0 ? 'it is empty' : undefined;
    } finally {
      closeSync(fd);
    }
  } catch (thrown) {
    return FILE_FAULTS[systemCode(thrown) ?? ''] ?? errorText(thrown);
  }
}
