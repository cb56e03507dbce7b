import type { SecretState } from '../ui/view.ts';
import { element, ticking, type Part } from './dom.ts';
import { gauge } from './gauge.ts';
import { span } from './time.ts';

/** Digits of a version: as many as tell versions apart at a glance. */
const SHORT = 12;
const short = (version: string) => version.slice(0, SHORT);

/** One secret: its name, the life of the certificate in use, and what the proxy said to the last one. */
export function secretPart(secret: SecretState): Part {
  const { name, inUse } = secret;
  const spiffeId = secret.spiffeId ?? inUse?.spiffeId ?? null;
  const named = element('span', 'name', element('bdi', '', name));
  if (spiffeId !== null && spiffeId !== name) named.append(element('bdi', 'fine', spiffeId));
  if (inUse?.serial != null) named.append(element('bdi', 'fine', `serial ${inUse.serial}`));
  const turnMs = secret.state === 'withdrawn' ? null : secret.nextRotationMs;
  const life =
    inUse?.notAfterMs == null
      ? undefined
      : gauge({ beginMs: inUse.notBeforeMs, endMs: inUse.notAfterMs, turnMs }, `life of ${name}`);
  const state = ticking('state', (nowMs) => stateText(secret, nowMs));
  const node = element('li', 'secret', named, life?.node ?? element('span', 'gauge'), state.node);
  node.dataset['state'] = secret.refused === null ? secret.state : 'refused';
  const words = refusal(secret);
  if (words) node.append(words);
  return {
    node,
    tick(nowMs) {
      life?.tick(nowMs);
      state.tick(nowMs);
    },
  };
}

/** Where a secret is between the daemon and its proxy. */
export function stateText(secret: SecretState, nowMs: number): string {
  const { state, sent, sentAtMs, unansweredSinceMs, refused, inUse } = secret;
  if (state === 'withdrawn') return 'withdrawn, the proxy keeps what it has';
  if (state === 'absent') return 'denied, the proxy was told so';
  if (refused !== null) return `refused ${short(refused.version)}`;
  if (state === 'none' || sent === null) return 'not sent yet';
  if (state === 'accepted') return `accepted ${short(sent)}`;
  const sinceMs = unansweredSinceMs ?? sentAtMs;
  const since = sinceMs === null ? '' : ` for ${span(nowMs - sinceMs)}`;
  const kept = inUse === null ? 'nothing in use' : `${short(inUse.version)} in use`;
  return `sent ${short(sent)}, no answer${since}, ${kept}`;
}

function refusal({ refused, inUse }: SecretState): HTMLElement | undefined {
  if (refused === null) return undefined;
  const kept = inUse === null ? 'nothing is in use' : `${short(inUse.version)} stays in use`;
  const quoted = element('q', '', element('bdi', '', refused.text));
  return element('p', 'refusal', quoted, element('span', 'kept', kept));
}
