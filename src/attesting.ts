import type { Registry } from 'prom-client';
import { createArrivals } from './attestation/arrivals.ts';
import { createAttestation, type Attestation } from './attestation/attestation.ts';
import type { Attestor } from './attestation/attestor.ts';
import { createExecutableReader } from './attestation/executable.ts';
import { countRefused, createAttestationMetrics } from './attestation/metrics.ts';
import { createAccountNames } from './attestation/names.ts';
import { createKernel } from './attestation/native.ts';
import type { Peer } from './attestation/peer.ts';
import { programAt } from './attestation/program.ts';
import { createUnixAttestor } from './attestation/unix.ts';
import type { Config } from './config.ts';
import type { Clock } from './core/clock.ts';
import { silentLogger, type Logger } from './core/log.ts';
import { createPeerLog } from './core/peer-log.ts';

/** How to find out who a peer is. */
export interface Attesting {
  /** How the kernel pins the process of a peer. */
  readonly protection: string;
  /** Whether a connection is worth any work. */
  readonly admits: (fd: number) => boolean;
  /** The daemon's own attestation; once. */
  measured(): Attestation;
  /** Another one, without metrics and without a word, for a rehearsal. */
  rehearsed(): Attestation;
}

/** Chooses the attestors; registers their metrics when `measured` is called. */
export function createAttesting(
  config: Config,
  registry: Registry,
  deps: {
    readonly clock: Clock;
    readonly log: Logger;
    readonly mostLingering: number;
    readonly others: readonly Attestor[];
  },
): Attesting {
  const { clock, log, mostLingering } = deps;
  const kernel = createKernel();
  // What is said about peers is said as often as they want.
  const peerLog = createPeerLog(log, clock);
  const arrivalLog = peerLog.child({ component: 'listener' });
  const { discoverPath } = config.attestation.unix;
  const programOf = discoverPath ? (peer: Peer) => programAt(peer.executableLink) : undefined;
  const unix = createUnixAttestor({
    names: createAccountNames(),
    executable: discoverPath ? createExecutableReader() : undefined,
  });
  const attestors = [unix, ...deps.others];
  return {
    protection: kernel.protection,
    admits: countRefused(
      registry,
      createArrivals(config.limits, { kernel, clock, log: arrivalLog }),
    ),
    measured() {
      const metrics = createAttestationMetrics(registry, clock);
      return createAttestation({
        kernel,
        attestors: attestors.map((attestor) => metrics.measured(attestor)),
        programOf,
        onUnidentified: (reason) => metrics.unidentified(reason),
        log: peerLog,
        ...{ clock, mostLingering },
      });
    },
    rehearsed: () =>
      createAttestation({
        // The daemon is not a pod's process to itself.
        ...{ kernel, attestors: [unix], programOf, clock, mostLingering },
        log: silentLogger,
      }),
  };
}
