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

/** A name that the caller may not have. */
export interface Absent extends Unserved {
  readonly why: DenialReason;
}

/** Send what is ready, say what is absent, and wait for the rest, if any. */
export interface Serving {
  readonly kind: 'serve';
  readonly ready: readonly Ready[];
  /** Names that the caller may not have, on a stream that goes on without them. */
  readonly absent: readonly Absent[];
  readonly wait: Wait | undefined;
}

/** End with these reasons. */
export interface Denial {
  readonly kind: 'deny';
  readonly why: DenialReason;
  readonly names: readonly string[];
  /** One for each name. */
  readonly reasons: readonly string[];
}

/** What to do about all names that a caller watches. */
export type Verdict = Serving | Denial;

/** What became of all names, and the names of everything that are no more. */
export interface Look {
  readonly seen: Survey;
  readonly dropped: readonly string[];
}

/** Resolves all names of a subscription, which follows the grant when it watches everything. */
export function look(subscription: Subscription, context: ResolveContext): Look {
  const dropped = subscription.wildcard ? subscription.follow(new Set(everyName(context))) : [];
  return { seen: survey(subscription.names(), context), dropped };
}

/** What may be done about names that a caller may not have. */
export interface Leeway {
  /** The protocol can say that they are absent, and the stream is good for something else. */
  readonly goesOn: boolean;
  /** Whether names that a policy entry could still grant are waited for. */
  readonly mayPark: (denied: readonly Unserved[]) => boolean;
}

/** Decides what it means that some names cannot be served. */
export function judge(
  { ready, waiting, denied, refused: all }: Survey,
  { goesOn, mayPark }: Leeway,
): Verdict {
  const [refused] = all;
  if (goesOn) {
    const absent = [
      ...all.map((one) => ({ ...one, why: 'unknown_name' as const })),
      ...denied.map((one) => ({ ...one, why: 'no_entry' as const })),
    ];
    return { kind: 'serve', ready, absent, wait: waitFor(waiting, []) };
  }
  if (refused) {
    const { name, reason } = refused;
    return { kind: 'deny', why: 'unknown_name', names: [name], reasons: [reason] };
  }
  if (denied.length > 0 && !mayPark(denied)) {
    const names = denied.map(({ name }) => name);
    return { kind: 'deny', why: 'no_entry', names, reasons: denied.map(({ reason }) => reason) };
  }
  return { kind: 'serve', ready, absent: [], wait: waitFor(waiting, denied) };
}

/** What is being made is waited for first: what is parked has its time after that. */
function waitFor(waiting: readonly Unserved[], parked: readonly Unserved[]): Wait | undefined {
  if (waiting.length > 0) return { code: 'ERR_NOT_READY', names: [...waiting, ...parked] };
  return parked.length > 0 ? { code: 'ERR_DENIED', names: parked } : undefined;
}
