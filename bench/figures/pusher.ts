import { setTimeout as sleep } from 'node:timers/promises';
import { SERVED_WITHIN_MS } from '../bench.ts';
import { monotonicMs } from '../client/fleet.ts';
import type { Worker } from '../client/worker-handle.ts';
import type { Server } from '../server.ts';

/** Changes something of all streams and waits for the acknowledgements. */
export interface Pusher {
  /** `rounds` changes, each begun when all have acknowledged the one before; milliseconds in all. */
  push(rounds: number): Promise<number>;
  /** A round each `periodMs`, or without a pause, until `stop`, which tells how many there were. */
  keepPushing(periodMs: number): { stop(): Promise<number> };
}

type Change = () => Promise<void>;

/**
 * Pushes to the fleet that `load` holds open with `streams` streams: a change of the bundle, which all
 * of them read, or what `change` changes, for as many as `each`.
 */
export function createPusher(
  server: Server,
  load: Worker,
  streams: number,
  {
    change = server.bumpBundle,
    each = streams,
  }: { change?: Change | undefined; each?: number } = {},
): Pusher {
  if (!change) throw new Error('this server cannot be made to change anything');
  let expected = streams;

  async function push(rounds: number): Promise<number> {
    let ms = 0;
    for (let round = 0; round < rounds; round++) {
      expected += each;
      const start = monotonicMs();
      const [{ reachedMs }] = await Promise.all([
        load.ask({
          kind: 'await-deliveries',
          total: expected,
          timeoutMs: SERVED_WITHIN_MS,
        }),
        change?.(),
      ]);
      ms += reachedMs - start;
    }
    return ms;
  }

  return {
    push,
    keepPushing(periodMs) {
      let rounds = 0;
      const wanted = new AbortController();
      const run = async (): Promise<number> => {
        const start = performance.now();
        for (; !wanted.signal.aborted; rounds++) {
          const early = start + rounds * periodMs - performance.now();
          if (early > 0) await sleep(early);
          await push(1);
        }
        return rounds;
      };
      const running = run();
      // Who stops it hears of a failure; until then nobody listens.
      running.catch(() => undefined);
      return {
        stop() {
          wanted.abort();
          return running;
        },
      };
    },
  };
}
