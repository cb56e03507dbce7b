import { Counter, Histogram, type Registry } from 'prom-client';
import { systemClock, type Clock } from '../core/clock.ts';
import { toIdentityError } from '../core/errors.ts';
import type { Attestor, Evidence } from './attestor.ts';

type FailureReason = 'gone' | 'unreadable';

/** Decorates attestors with their time and their failures. */
export function createAttestorMetrics(
  registry: Registry,
  clock: Pick<Clock, 'monotonic'> = systemClock,
): (attestor: Attestor) => Attestor {
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
  return (attestor) => {
    const { name } = attestor;
    seconds.zero({ attestor: name });
    for (const reason of ['gone', 'unreadable'] as const) {
      failures.inc({ attestor: name, reason }, 0);
    }
    return {
      name,
      attest(peer, options) {
        const started = clock.monotonic();
        const succeed = (evidence: Evidence) => {
          seconds.observe({ attestor: name }, (clock.monotonic() - started) / 1000);
          return evidence;
        };
        const fail = (thrown: unknown): never => {
          failures.inc({ attestor: name, reason: reasonOf(thrown, peer.hasExited()) });
          throw thrown;
        };
        try {
          const answer = attestor.attest(peer, options);
          return answer instanceof Promise ? answer.then(succeed, fail) : succeed(answer);
        } catch (thrown) {
          return fail(thrown);
        }
      },
    };
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
