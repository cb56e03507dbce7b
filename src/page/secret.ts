import type { SecretState } from '../ui/view.ts';
import { element, ticking, type Part } from './dom.ts';
import { gauge } from './gauge.ts';
import { isUnanswered } from './select.ts';
import { span } from './time.ts';

/** Digits of a version: as many as tell versions apart at a glance. */
const SHORT = 12;
const short = (version: string) => version.slice(0, SHORT);

/** One secret: its name, the life of its certificate, and what the proxy said to it. */
export function secretPart(secret: SecretState): Part {
  const { name, spiffeId, serial, notBeforeMs, notAfterMs, nextRotationMs } = secret;
  const named = element('span', 'name', element('bdi', '', name));
  if (spiffeId !== null && spiffeId !== name) named.append(element('bdi', 'fine', spiffeId));
  if (serial !== null) named.append(element('bdi', 'fine', `serial ${serial}`));
  const life =
    notAfterMs === null
      ? undefined
      : gauge(
          { beginMs: notBeforeMs, endMs: notAfterMs, turnMs: nextRotationMs },
          `life of ${name}`,
        );
  const state = ticking('state', (nowMs) => stateText(secret, nowMs));
  const node = element('li', 'secret', named, life?.node ?? element('span', 'gauge'), state.node);
  node.dataset['state'] = stateName(secret);
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

function stateName(secret: SecretState): string {
  if (secret.refused !== null) return 'refused';
  if (secret.absent) return 'denied';
  if (secret.sent === null) return 'none';
  return isUnanswered(secret) ? 'unanswered' : 'accepted';
}

/** Where a secret is between the daemon and its proxy. */
export function stateText(secret: SecretState, nowMs: number): string {
  const { sent, sentAtMs, absent, refused } = secret;
  if (refused !== null) return `refused ${short(refused.version)}`;
  if (absent) return 'denied, the proxy was told so';
  if (sent === null) return 'not sent yet';
  if (!isUnanswered(secret)) return `accepted ${short(sent)}`;
  const since = sentAtMs === null ? '' : ` for ${span(nowMs - sentAtMs)}`;
  return `sent ${short(sent)}, no answer${since}`;
}

function refusal({ refused, acknowledged }: SecretState): HTMLElement | undefined {
  if (refused === null) return undefined;
  const kept = acknowledged === null ? 'nothing is in use' : `${short(acknowledged)} stays in use`;
  const quoted = element('q', '', element('bdi', '', refused.text));
  return element('p', 'refusal', quoted, element('span', 'kept', kept));
}
