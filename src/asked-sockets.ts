import { socketsOf, withoutSpare, type Need } from './attestor-needs.ts';
import type { Config } from './config.ts';
import { sleep, type Clock } from './core/clock.ts';
import { IdentityError } from './core/errors.ts';
import type { Logger } from './core/log.ts';
import { createPeerLog } from './core/peer-log.ts';
import { connectFault, socketFileFault, type AskFault } from './core/socket-fault.ts';

/** Somebody whom an attestor asks, as the operator is told of it; times are wall clock. */
export interface Asked {
  readonly attestor: string;
  /** As in a sentence: `the API server`. */
  readonly who: string;
  /** Path of a socket, or host:port. */
  readonly at: string;
  /** Undefined where that is not kept, and before the first time. */
  readonly heardAtMs: number | undefined;
  readonly failing: { readonly reason: string; readonly sinceMs: number } | undefined;
}

/** The sockets that attestors ask over, and whether they can. */
export interface AskedSockets {
  /** How an attempt went: `why` it failed, or undefined. Of other sockets nothing is kept. */
  readonly told: (path: string, why: AskFault | undefined) => void;
  all(): readonly Asked[];
  close(): void;
}

interface State {
  readonly need: Need;
  /** Who listens there does not answer: until an attempt is answered. */
  isMute: boolean;
  failing: Asked['failing'];
}

const EVERY_MS = 10_000;
const WHO = { docker: 'the engine', systemd: 'systemd', kubernetes: '' } as const;
const MEANS = {
  docker: 'until it can be asked no process in its containers is attested',
  systemd: 'until it can be asked no process is attested',
  kubernetes: '',
} as const;

/**
 * Looks at them at the start and every 10 s, and hears how attempts go: says each change once. Of one
 * that is well no more than its file is looked at: to connect would start what waits behind it.
 */
export function watchAskedSockets(
  attestation: Config['attestation'],
  { clock, log: all }: { readonly clock: Clock; readonly log: Logger },
): AskedSockets {
  const states = socketsOf(attestation).map((need): State => ({
    ...{ need, isMute: false },
    failing: undefined,
  }));
  // Peers make attempts as often as they like.
  const log = createPeerLog(all.child({ component: 'attestation' }), clock);
  const closing = new AbortController();
  const { signal } = closing;

  function set(state: State, why: string | undefined): void {
    const { attestor, path } = state.need;
    const before = state.failing;
    if (why === undefined) state.failing = undefined;
    else state.failing = { reason: why, sinceMs: before?.sinceMs ?? clock.now() };
    if (why !== undefined && !before) {
      const fields = { path, reason: why, detail: MEANS[attestor] };
      log.warn(fields, `${WHO[attestor]} cannot be asked`);
    } else if (why === undefined && before)
      log.info({ path }, `${WHO[attestor]} can be asked again`);
  }

  async function watch(): Promise<never> {
    for (let first = true; ; first = false) {
      const found = await lookAt(states, first, clock);
      signal.throwIfAborted();
      for (const { state, why } of found) set(state, why);
      await sleep(clock, EVERY_MS, { signal });
    }
  }

  if (states.length > 0) {
    watch().catch((err: unknown) => {
      if (!signal.aborted)
        all.error({ err }, 'the sockets of attestors are not looked at any more');
    });
  }
  return {
    told(path, why) {
      const state = states.find(({ need }) => need.path === path);
      if (!state || signal.aborted) return;
      state.isMute = why?.isMute === true;
      set(state, why?.reason);
    },
    all: () =>
      states.map(({ need: { attestor, path: at }, failing }) => ({
        ...{ attestor, who: WHO[attestor], at, failing },
        heardAtMs: undefined,
      })),
    close: () => closing.abort(new IdentityError('ERR_SHUTDOWN', 'credence is shutting down')),
  };
}

/** Those of which a look tells something, and what. */
async function lookAt(states: readonly State[], connecting: boolean, clock: Clock) {
  const looks = states.map(async (state) => {
    const { need, failing } = state;
    const connects = connecting || failing !== undefined;
    const why = connects ? await connectFault(need.path, clock) : socketFileFault(need.path);
    return { state, need, why };
  });
  const found = await Promise.all(looks);
  const unmet = found.flatMap(({ need, why }) => (why === undefined ? [] : [{ need, why }]));
  const needs = states.map(({ need }) => need);
  const missed = withoutSpare(needs, unmet).map(({ need }) => need);
  // What a process was refused for goes on until somebody listens, and answers if he did not.
  return found.filter(({ state, need, why }) =>
    why === undefined ? !state.isMute : missed.includes(need),
  );
}
