import type { DenialReason } from './metrics.ts';
import type { Wait } from './patience.ts';
import {
  everyName,
  survey,
  type Ready,
  type ResolveContext,
  type Survey,
  type Unserved,
} from './resolve.ts';
import type { Subscription } from './subscription.ts';

/** Send what is ready, and wait for the rest, if any. */
export interface Serving {
  readonly kind: 'serve';
  readonly ready: readonly Ready[];
  readonly wait: Wait | undefined;
}

/** End with these reasons. */
export interface Denial {
  readonly kind: 'deny';
  readonly why: DenialReason;
  readonly reasons: readonly string[];
}

/** What to do about all names that a caller watches. */
export type Verdict = Serving | Denial;

/** Resolves all names of a subscription, which follows the grant when it watches everything. */
export function look(subscription: Subscription, context: ResolveContext): Survey {
  if (subscription.wildcard) subscription.follow(new Set(everyName(context)));
  return survey(subscription.names(), context);
}

/**
 * Decides what it means that some names cannot be served. `mayPark` is asked about names that a
 * policy entry could still grant: whether they are waited for.
 */
export function judge(
  { ready, waiting, denied, refused: [refused] }: Survey,
  mayPark: (denied: readonly Unserved[]) => boolean,
): Verdict {
  if (refused) return { kind: 'deny', why: 'unknown_name', reasons: [refused.reason] };
  if (denied.length > 0 && !mayPark(denied)) {
    return { kind: 'deny', why: 'no_entry', reasons: denied.map(({ reason }) => reason) };
  }
  return { kind: 'serve', ready, wait: waitFor(waiting, denied) };
}

/** What is being made is waited for first: what is parked has its time after that. */
function waitFor(waiting: readonly Unserved[], parked: readonly Unserved[]): Wait | undefined {
  if (waiting.length > 0) return { code: 'ERR_NOT_READY', names: [...waiting, ...parked] };
  return parked.length > 0 ? { code: 'ERR_DENIED', names: parked } : undefined;
}
