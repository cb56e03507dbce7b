import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { Api } from './api.ts';
import { follow, listInto } from './follow.ts';
import type { PodMirror } from './pod-mirror.ts';

/** Who tells of the pods of this node, and fills a mirror with them until its signal. */
export interface PodSource {
  /** Asks for the newest list, for what is yet to be told. May reject. */
  relist(): Promise<void>;
}

export interface PodSourceDeps {
  readonly api: Pick<Api, 'get' | 'lines'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/**
 * Who may make pods may bind any number to a node, whose kubelet fails the excess, and what has failed
 * stays until somebody deletes it. A pod that ends is told of as deleted.
 */
const RUNNING = 'status.phase!=Failed,status.phase!=Succeeded';

/** The API server, which lists them and then tells of each change. */
export function followApiServer(node: string, mirror: PodMirror, deps: PodSourceDeps): PodSource {
  const { log, signal } = deps;
  const what = {
    path: '/api/v1/pods',
    query: `fieldSelector=${encodeURIComponent(`spec.nodeName=${node},${RUNNING}`)}`,
    right: 'pods: list, watch',
  };
  follow(what, mirror, deps).catch((thrown: unknown) => {
    if (!signal.aborted) log.error({ err: thrown }, 'the pods are not followed any more');
  });
  return {
    async relist() {
      const beside = mirror.beside();
      try {
        await listInto(beside, what, '', deps);
      } finally {
        beside.end();
      }
    },
  };
}
