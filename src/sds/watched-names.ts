import { IdentityError } from '../core/errors.ts';
import type { PeerCredentials } from '../identity/caller.ts';
import type { SdsContext } from './context.ts';
import type { Subscription } from './subscription.ts';

/** The names of one stream, as admission counts them. */
export interface WatchedNames {
  /**
   * Throws `ERR_LIMIT` when more names are watched than there is room for, or, where the proxy has
   * asked for others, more than one stream may have.
   */
  count(options: { changed: boolean }): void;
  /** The stream has none any more. */
  release(): void;
}

export function watchNames(
  subscription: Subscription,
  credentials: PeerCredentials,
  { admission, metrics, namesPerStream: most }: SdsContext,
): WatchedNames {
  let counted = 0;
  return {
    count({ changed }) {
      const { size, asked } = subscription;
      if (changed && size > most && asked > most) {
        metrics.limited('names');
        const message = `a stream has ${asked} names, at most ${most} are allowed`;
        throw new IdentityError('ERR_LIMIT', message);
      }
      const more = size - counted;
      if (more === 0) return;
      admission.watch(credentials, more);
      counted += more;
    },
    release() {
      admission.watch(credentials, -counted);
      counted = 0;
    },
  };
}
