import { setMaxListeners } from 'node:events';
import type { KubernetesConfig } from './config-kubernetes.ts';
import type { Clock } from './core/clock.ts';
import { IdentityError } from './core/errors.ts';
import type { Logger } from './core/log.ts';
import type { Random } from './core/random.ts';
import { fromFiles } from './kubernetes/access.ts';
import { createApi } from './kubernetes/api.ts';
import { follow, type Mirror } from './kubernetes/follow.ts';
import { createNamespaces, type Namespaces } from './kubernetes/namespaces.ts';

/** The namespaces of the cluster, followed once for all who need them, and not before one does. */
export interface FollowedNamespaces extends Pick<Namespaces, 'labelsOf' | 'all'> {
  /**
   * Tells who asks of all that comes, and soon whether they were heard of already, or refused.
   *
   * @param without what it means to lack the right, when it is the first to ask
   */
  follow(listener: NamespacesListener, without: string): void;
  close(): void;
}

interface NamespacesListener extends Pick<Mirror, 'heard' | 'refused'> {
  /** Those whose labels are others. */
  changed(names: ReadonlySet<string>): void;
}

export function createFollowedNamespaces(
  { apiServer, caFile: ca, tokenFile: token }: KubernetesConfig,
  deps: { readonly clock: Clock; readonly random: Random; readonly log: Logger },
): FollowedNamespaces {
  const { clock, random } = deps;
  const log = deps.log.child({ component: 'namespaces' });
  const api = createApi(fromFiles({ ...apiServer, ca, token }, clock), clock);
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  const { signal } = closing;
  const listeners = new Set<NamespacesListener>();
  /** What was told of the whole, for those who ask later. */
  let heard: ((listener: NamespacesListener) => void) | undefined;
  let refusal: typeof heard;
  const tellAll = (tell: (listener: NamespacesListener) => void) => {
    for (const listener of listeners) tell(listener);
  };
  const namespaces = createNamespaces((names) => tellAll((one) => one.changed(names)), {
    heard: () => tellAll((heard = (one) => one.heard())),
    refused(why) {
      refusal = (one) => one.refused?.(why);
      tellAll((one) => one.refused?.(why));
    },
  });

  function begin(without: string): void {
    const right = `namespaces: list, watch; until then ${without}`;
    const what = { path: '/api/v1/namespaces', query: '', right };
    const following = { api, clock, random, log, signal };
    follow(what, namespaces.mirror, following).catch((err: unknown) => {
      if (!signal.aborted) log.error({ err }, 'the namespaces are not followed any more');
    });
  }

  return {
    labelsOf: namespaces.labelsOf,
    all: namespaces.all,
    follow(listener, without) {
      if (signal.aborted) return;
      const isFirst = listeners.size === 0;
      listeners.add(listener);
      if (isFirst) return begin(without);
      // Not before it is told that they are followed. What was heard once is known, however old.
      queueMicrotask(() => (heard ?? refusal)?.(listener));
    },
    close() {
      closing.abort(new IdentityError('ERR_SHUTDOWN', 'credence is shutting down'));
      api.close();
    },
  };
}
