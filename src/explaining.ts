import type { ExplainPodSources, ExplainSources, MatchSources } from './admin/explain.ts';
import type { Attestation } from './attestation/attestation.ts';
import type { Config } from './config.ts';
import type { Clock } from './core/clock.ts';
import { IdentityError, toIdentityError } from './core/errors.ts';
import type { Selector } from './identity/selector.ts';
import type { PodExplainer } from './kubernetes/explain.ts';

/** Answers an operator who asks why somebody gets what he gets. */
export interface Explaining {
  /** Rejects with `ERR_PEER_GONE` when there is no such process. */
  pid(pid: number): Promise<ExplainSources>;
  /** Rejects with `ERR_NOT_READY` when no pods are followed, or this one is not known. */
  pod(namespace: string, name: string): Promise<ExplainPodSources>;
  selectors(selectors: readonly Selector[]): Promise<MatchSources>;
}

interface ExplainingDeps {
  readonly config: Pick<Config, 'socketPaths'>;
  /** What all that grants identities makes of selectors. */
  readonly match: (selectors: readonly Selector[]) => Promise<Omit<MatchSources, 'selectors'>>;
  readonly attestation: Pick<Attestation, 'attestPid'>;
  /** Undefined where pods are no matter. */
  readonly pods: PodExplainer | undefined;
  readonly openStreams: () => Iterable<{ readonly pid: number; readonly connection: string }>;
  readonly clock: Clock;
}

/** Whoever asks reads that it is not known yet, long before a proxy would be told. */
const PATIENCE_MS = 2000;

type Process = Pick<ExplainSources, 'credentials' | 'startTicks' | 'steps'>;

export function createExplaining(deps: ExplainingDeps): Explaining {
  const { attestation, pods, clock } = deps;

  async function selectors(held: readonly Selector[]): Promise<MatchSources> {
    return { selectors: held, ...(await deps.match(held)) };
  }

  /** Attests a process as if it connected now, and asks the policy what it makes of it. */
  async function explainPid(pid: number): Promise<ExplainSources> {
    let seen: Process | undefined;
    const patience = new AbortController();
    const timer = clock.after(PATIENCE_MS, () => patience.abort(notYet()));
    try {
      const { selectors: held } = await attestation.attestPid(pid, {
        signal: patience.signal,
        look(peer) {
          const steps = [socketStep(pid, deps), ...(pods?.steps(peer) ?? [])];
          seen = { credentials: peer.credentials, startTicks: peer.startTicks(), steps };
        },
      });
      if (!seen) throw new TypeError('a process was attested that nobody saw');
      return { pid, ...seen, refusal: undefined, ...(await selectors(held)) };
    } catch (thrown) {
      const error = toIdentityError(thrown);
      if (!seen || error.code === 'ERR_PEER_GONE' || error.code === 'ERR_BUG') throw error;
      return { pid, ...seen, refusal: error.message, ...NOTHING };
    } finally {
      timer.cancel();
    }
  }

  async function explainPod(namespace: string, name: string): Promise<ExplainPodSources> {
    if (!pods) {
      const message = 'no pods are known here: attestation.kubernetes is not enabled';
      throw new IdentityError('ERR_NOT_READY', message);
    }
    const found = pods.pods(namespace, name);
    if (found.length === 0) {
      const message = `pod ${namespace}/${name} is not known here (${pods.known()})`;
      throw new IdentityError('ERR_NOT_READY', message);
    }
    const told: ExplainPodSources['pods'][number][] = [];
    for (const { containers, ...pod } of found) {
      const matched = containers.map(async (container) => ({
        ...container,
        ...(container.refusal === undefined ? await selectors(container.selectors) : NOTHING),
      }));
      told.push({ ...pod, containers: await Promise.all(matched) });
    }
    return { known: pods.known(), pods: told };
  }

  return { pid: explainPid, pod: explainPod, selectors };
}

const NOTHING = { selectors: [], identities: [], verdicts: [], missingNotShown: 0 };

function socketStep(pid: number, { openStreams, config }: ExplainingDeps) {
  const connections = new Set<string>();
  let streams = 0;
  for (const stream of openStreams()) {
    if (stream.pid !== pid) continue;
    connections.add(stream.connection);
    streams++;
  }
  const path = config.socketPaths[0] ?? '';
  const text =
    streams === 0
      ? `${path}, no open stream of this process`
      : `${path}, ${streams} open streams of this process on ${connections.size} connections`;
  return { name: 'socket', text };
}

function notYet(): IdentityError {
  const message = `it is not known within ${PATIENCE_MS / 1000} s; a proxy that connects waits`;
  return new IdentityError('ERR_ATTESTATION', message);
}
