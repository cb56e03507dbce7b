import type { Subscribed } from './subscribed.ts';

/**
 * What has become of a name: `withdrawn` is one that the proxy may not have any more but goes on
 * using, `none` one that nothing was sent of yet.
 */
export type SecretState = 'accepted' | 'unanswered' | 'refused' | 'absent' | 'withdrawn' | 'none';

/** One name of a stream as `credence status` shows it. */
export interface SecretView extends Omit<Subscribed, 'history'> {
  readonly state: SecretState;
  /** Version that the proxy refused and has not replaced by another since, with its words. */
  readonly rejected: { readonly version: string; readonly text: string } | undefined;
}

/** @param denied whether a policy entry is missing for it. */
export function viewOf(known: Subscribed, denied: boolean): SecretView {
  const { history, ...shown } = known;
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
