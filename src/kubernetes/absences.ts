import type { Clock } from '../core/clock.ts';
import type { Pod } from './pod.ts';

/** Takes the pods of a kubelet's next answer; those of earlier ones that stay known beside them. */
export type Absences = (listed: readonly Pod[]) => readonly Pod[];

/** A kubelet that was restarted has its pods again within seconds of reaching the API server. */
const GONE = { afterMs: 30_000, answers: 3 };
/** Until it has reached that it knows static pods alone. */
const UNTOLD_MS = 15 * 60_000;
/** How a kubelet marks where it has a pod from, whatever the pod itself says of it. */
const SOURCE = 'kubernetes.io/config.source';

interface Seen {
  readonly pod: Pod;
  missing: { readonly sinceMs: number; answers: number } | undefined;
}

/**
 * A pod is gone once several answers in a row have lacked it, over a time. An answer without any pod
 * of the API server's says nothing of those, unless it stays so for long.
 */
export function createAbsences(clock: Pick<Clock, 'monotonic'>): Absences {
  let known: readonly Seen[] = [];
  let untoldSinceMs: number | undefined;

  const staysKnown = (nowMs: number) => (seen: Seen) => {
    if (untoldSinceMs !== undefined && !isStatic(seen.pod)) {
      seen.missing = undefined;
      return nowMs - untoldSinceMs < UNTOLD_MS;
    }
    const missing = (seen.missing ??= { sinceMs: nowMs, answers: 0 });
    missing.answers++;
    return missing.answers < GONE.answers || nowMs - missing.sinceMs < GONE.afterMs;
  };

  return (listed) => {
    const nowMs = clock.monotonic();
    const untold = listed.every(isStatic);
    untoldSinceMs = untold ? (untoldSinceMs ?? nowMs) : undefined;
    const told = new Set(listed.map(({ uid }) => uid));
    const kept = known.filter(({ pod }) => !told.has(pod.uid)).filter(staysKnown(nowMs));
    const running = listed.filter(({ ended }) => !ended);
    known = [...running.map((pod) => ({ pod, missing: undefined })), ...kept];
    return kept.map(({ pod }) => pod);
  };
}

function isStatic({ annotations }: Pod): boolean {
  const source = annotations.get(SOURCE);
  return source === 'file' || source === 'http';
}
