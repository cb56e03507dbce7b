import { answerOf, requestTypeFault, type Applied, type Codec } from './codec.ts';
import { encodeDeltaDiscoveryResponse, type DeltaDiscoveryRequest } from './delta-messages.ts';
import { versionOf } from './state-of-the-world.ts';
import type { Subscription } from './subscription.ts';

const EVERYTHING = '*';

/** The codec of `DeltaSecrets`: requests say what changes, responses each resource's version. */
export function delta(controlPlane: string): Codec<DeltaDiscoveryRequest> {
  return {
    kind: 'delta',
    saysAbsence: true,
    apply,
    encode: (nonce, secrets, removed = []) =>
      encodeDeltaDiscoveryResponse({
        systemVersion: versionOf(secrets),
        ...{ secrets, removed, nonce, controlPlane },
      }),
  };
}

/** One message may answer a response and change the names: both parts count, whatever the nonce. */
function apply(request: DeltaDiscoveryRequest, subscription: Subscription): Applied {
  const fault = requestTypeFault(request.typeUrl);
  if (fault) return { node: undefined, answer: undefined, changed: false, fault };
  const { node, subscribe, unsubscribe, responseNonce } = request;
  const error = request.errorDetail && (request.errorDetail.message || 'no reason given');
  const answer =
    responseNonce === '' && error === undefined
      ? undefined
      : answerOf(subscription, responseNonce, error);
  const opens = subscription.state();
  // A first request that names nothing asks for everything (xDS protocol, "How the client
  // specifies what resources to return"), which is how Envoy asks for `*` and nothing else.
  const asked = opens && subscribe.length === 0 ? [EVERYTHING] : subscribe;
  // Where strangers choose the names it is one like any other.
  const isWildcard = (name: string) => name === EVERYTHING && !subscription.onDemand;
  for (const name of unsubscribe) {
    if (isWildcard(name)) subscription.watchEverything(false);
    else subscription.unsubscribe(name);
  }
  for (const name of asked) {
    if (isWildcard(name)) subscription.watchEverything(true);
    else subscription.askAgain(name);
  }
  const changed = opens || subscribe.length > 0 || unsubscribe.length > 0;
  return { node, answer, changed, fault: undefined };
}
