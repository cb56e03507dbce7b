import { createHash } from 'node:crypto';
import { answerOf, requestTypeFault, type Applied, type Codec } from './codec.ts';
import { encodeDiscoveryResponse, type DiscoveryRequest } from './messages.ts';
import type { Secret } from './resources.ts';
import type { Subscription } from './subscription.ts';

/** The codec of `StreamSecrets` and `FetchSecrets`: each request states all names. */
export function stateOfTheWorld(controlPlane: string): Codec<DiscoveryRequest> {
  return {
    kind: 'sotw',
    saysAbsence: false,
    apply,
    encode: (nonce, secrets) =>
      encodeDiscoveryResponse({
        versionInfo: versionOf(secrets),
        resources: secrets.map(({ resource }) => resource),
        nonce,
        controlPlane,
      }),
  };
}

function apply(request: DiscoveryRequest, subscription: Subscription): Applied {
  const fault = requestTypeFault(request.typeUrl);
  if (fault) return { node: undefined, answer: undefined, changed: false, fault };
  const { node } = request;
  if (subscription.lastNonce === undefined) {
    // Nothing was sent on this stream: whatever version and nonce a reconnecting proxy states
    // belongs to another stream, and it is answered all the same.
    setNames(request.resourceNames, subscription, subscription.state());
    return { node, answer: undefined, changed: true, fault: undefined };
  }
  const error = request.errorDetail && (request.errorDetail.message || 'no reason given');
  const answer = answerOf(subscription, request.responseNonce, error);
  // Only the answer to the newest response speaks for what the proxy wants now.
  const changed = answer.kind === 'current' && setNames(request.resourceNames, subscription, false);
  return { node, answer, changed, fault: undefined };
}

/**
 * Takes over the names and says whether they differ from before. An empty list means everything
 * when a stream opens with it, and nothing any more when it follows a list of names.
 */
function setNames(names: readonly string[], subscription: Subscription, opening: boolean): boolean {
  const wanted = new Set(names);
  wanted.delete('');
  const all = wanted.delete('*');
  if (all || (wanted.size === 0 && (opening || subscription.wildcard))) {
    return subscription.replace(wanted, true);
  }
  return subscription.replace(wanted);
}

/** The version of a response: its one resource's, or a digest of all. */
export function versionOf(secrets: readonly Secret[]): string {
  const [only, ...others] = secrets;
  if (only && others.length === 0) return only.version;
  const hash = createHash('sha256');
  for (const { name, version } of secrets) hash.update(`${name}\0${version}\0`);
  return hash.digest('hex').slice(0, 32);
}
