import { sleep } from '../core/clock.ts';
import { createAbsences, type Absences } from './absences.ts';
import { createFailures, reasonOf } from './failures.ts';
import { record } from './fields.ts';
import type { PodMirror } from './pod-mirror.ts';
import type { PodSource, PodSourceDeps } from './pod-source.ts';

/** `get` of `nodes/pods` is enough from Kubernetes 1.33 on; before, it takes `nodes/proxy`. */
const KUBELET = { who: 'the kubelet', path: '/pods', right: 'nodes/pods: get' };

/**
 * The kubelet of this node. It tells of nothing by itself: it is asked each `everyMs`, and whenever
 * somebody waits. Of pods that are not static it knows no more than the API server has told it,
 * and has forgotten that when it was restarted: what one answer lacks is not gone for that.
 */
export function followKubelet(everyMs: number, mirror: PodMirror, deps: PodSourceDeps): PodSource {
  const { clock, log, signal } = deps;
  const failures = createFailures(KUBELET, deps);
  const absences = createAbsences(clock);
  let asking: Promise<void> | undefined;
  const ask = () =>
    (asking ??= listInto(mirror, absences, deps).finally(() => (asking = undefined)));

  async function poll(): Promise<never> {
    for (;;) {
      let pauseMs = everyMs;
      try {
        await ask();
        failures.over();
      } catch (thrown) {
        signal.throwIfAborted();
        mirror.failed?.(reasonOf(thrown));
        pauseMs = failures.add(thrown);
      }
      await sleep(clock, pauseMs, { signal });
    }
  }

  poll().catch((thrown: unknown) => {
    if (!signal.aborted) log.error({ err: thrown }, 'the pods are not asked for any more');
  });
  return { relist: ask };
}

async function listInto(
  mirror: PodMirror,
  absences: Absences,
  { api, signal }: PodSourceDeps,
): Promise<void> {
  const { kind, items } = record(await api.get(KUBELET.path, { signal }));
  // A node without pods has null there. What is no list says nothing of what there is.
  const none = kind === 'PodList' && (items === null || items === undefined);
  if (!none && !Array.isArray(items)) throw new Error('the answer is no list');
  mirror.replace(none ? [] : (items as readonly unknown[]), absences);
  mirror.heard();
}
