import type { PeerCredentials } from '../identity/caller.ts';
import type { NodeInfo } from './node-info.ts';
import type { Refusal } from './refusals.ts';
import type { Subscribed } from './subscribed.ts';

/**
 * What has become of a name: `withdrawn` is one that the proxy may not have any more but goes on
 * using, `none` one that nothing was sent of yet.
 */
export type SecretState = 'accepted' | 'unanswered' | 'refused' | 'absent' | 'withdrawn' | 'none';

/** One name of a stream as `credence status` shows it. */
export interface SecretView extends Omit<Subscribed, 'history' | 'ownBundle'> {
  readonly state: SecretState;
  /** Version that the proxy refused and has not replaced by another since, with its words. */
  readonly rejected: { readonly version: string; readonly text: string } | undefined;
}

/** A stream as `credence status` shows it. */
export interface StreamSnapshot {
  readonly connection: string;
  readonly credentials: PeerCredentials;
  readonly kind: 'sotw' | 'delta';
  readonly node: NodeInfo | undefined;
  /** Wall clock in milliseconds. */
  readonly openedAtMs: number;
  /** Responses that the proxy has neither accepted nor refused. */
  readonly unanswered: number;
  readonly resources: readonly SecretView[];
  /** The last names for which a stream of the process was ended. */
  readonly refusals: readonly Refusal[];
  /** Why each name that cannot be sent yet is waited for. */
  readonly waiting: readonly string[];
}

/** @param denied whether a policy entry is missing for it. */
export function viewOf(known: Subscribed, denied: boolean): SecretView {
  const { history, ownBundle: _, ...shown } = known;
  const rejected = history?.latest;
  return { ...shown, rejected, state: stateOf(known, rejected, denied) };
}

function stateOf(
  { absent, acknowledged, inUse, sent }: Subscribed,
  rejected: { readonly version: string } | undefined,
  denied: boolean,
): SecretState {
  if (absent || denied) return inUse ? 'withdrawn' : absent ? 'absent' : 'none';
  if (sent === undefined) return 'none';
  if (sent === rejected?.version) return 'refused';
  return sent === acknowledged ? 'accepted' : 'unanswered';
}
