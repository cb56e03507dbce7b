import type { BundleGauge } from './bundle-gauge.ts';
import { asksForBundle, type AliasNames } from './names.ts';
import type { Subscription } from './subscription.ts';

/** One stream's account of the own trust domain's bundle. */
export interface BundleReading {
  /**
   * Looks at the subscription: a request was taken in, or all names were looked at.
   * @param attesting nothing can have been sent yet
   * @param answered the proxy has accepted or refused something
   */
  note(now: { attesting: boolean; answered: boolean }): void;
  /** The stream has ended. */
  leave(): void;
}

/**
 * A proxy that has lost its stream goes on with the bundle it had: one that comes and asks for
 * it is counted from its first request on, not only when it has been sent it.
 */
export function readBundle(
  subscription: Subscription,
  connection: string,
  { gauge, aliases }: { readonly gauge: BundleGauge; readonly aliases: AliasNames },
): BundleReading {
  const place = gauge.open(connection);
  return {
    note({ attesting, answered }) {
      const { ownBundle, wildcard } = subscription;
      const asks = attesting && (wildcard || asksForBundle(subscription.names(), aliases));
      place.at(ownBundle === 'none' && asks ? 'behind' : ownBundle, { answered });
    },
    leave: () => place.leave(),
  };
}
