import { Counter, Histogram, type Registry } from 'prom-client';
import { systemClock, type Clock } from '../core/clock.ts';
import { toIdentityError } from '../core/errors.ts';
import type { Attestor, Evidence } from './attestor.ts';

const FAILURES = ['hidden', 'gone', 'unreadable'] as const;
/** Why nothing can be said of a process. */
export type FailureReason = (typeof FAILURES)[number];

export interface AttestationMetrics {
  /** Decorates an attestor with its time and its failures. */
  measured(attestor: Attestor): Attestor;
  /** Counts a peer that no attestor was asked about, as one that `unix` has nothing to say of. */
  unidentified(reason: FailureReason): void;
}

export function createAttestationMetrics(
  registry: Registry,
  clock: Pick<Clock, 'monotonic'> = systemClock,
): AttestationMetrics {
  const registers = [registry];
  const seconds = new Histogram({
    name: 'credence_attestation_seconds',
    help: 'Time an attestor took for a process',
    labelNames: ['attestor'],
    buckets: [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.025, 0.1, 1, 5, 30],
    registers,
  });
  const failures = new Counter({
    name: 'credence_attestation_failures_total',
    help: 'Processes an attestor could not speak for',
    labelNames: ['attestor', 'reason'],
    registers,
  });
  const fail = (attestor: Attestor['name'], reason: FailureReason) =>
    failures.inc({ attestor, reason });
  // An alert on an increase sees the first one only where there was a zero.
  const begin = (attestor: Attestor['name']) => {
    for (const reason of FAILURES) failures.inc({ attestor, reason }, 0);
  };
  begin('unix');
  return {
    unidentified: (reason) => fail('unix', reason),
    measured(attestor) {
      const { name } = attestor;
      seconds.zero({ attestor: name });
      begin(name);
      return {
        name,
        attest(peer, options) {
          const started = clock.monotonic();
          const succeed = (evidence: Evidence) => {
            seconds.observe({ attestor: name }, (clock.monotonic() - started) / 1000);
            return evidence;
          };
          const refuse = (thrown: unknown): never => {
            fail(name, reasonOf(thrown, peer.hasExited()));
            throw thrown;
          };
          try {
            const answer = attestor.attest(peer, options);
            return answer instanceof Promise ? answer.then(succeed, refuse) : succeed(answer);
          } catch (thrown) {
            return refuse(thrown);
          }
        },
      };
    },
  };
}

/** Decorates the look at who arrives with the number of those who were turned away. */
export function countRefused(
  registry: Registry,
  admits: (fd: number) => boolean,
): (fd: number) => boolean {
  const refused = new Counter({
    name: 'credence_attestation_refused_connections_total',
    help: 'Connections that were closed at accept because their process or user connects too often',
    registers: [registry],
  });
  return (fd) => {
    const admitted = admits(fd);
    if (!admitted) refused.inc();
    return admitted;
  };
}

function reasonOf(thrown: unknown, exited: boolean): FailureReason {
  return exited || toIdentityError(thrown).code === 'ERR_PEER_GONE' ? 'gone' : 'unreadable';
}
