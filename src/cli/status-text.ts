import { formatDuration } from '../core/duration.ts';
import type { SecretState } from '../ui/view.ts';
import { oneLine } from './printable.ts';
import type { ProxyView, StatusView } from './status-view.ts';

/** Digits of a version: as many as tell versions apart at a glance. */
const SHORT = 12;

/** A status for people. Proxies choose some of the texts: each one stays within its line. */
export function statusText(view: StatusView, nowMs: number): string {
  const left: Left = (timeMs) => timeLeft(timeMs, nowMs);
  const lines = [
    `credence ${view.version} on ${view.nodeName}, trust domain ${view.trustDomain}, ${
      view.notReady.length === 0 ? 'ready' : `not ready: ${view.notReady.join(', ')}`
    }`,
    ...policyLines(view.policy, nowMs),
    ...view.authorities.map(
      ({ slot, notAfterMs }) => `authority ${slot}: ${left(notAfterMs)} left`,
    ),
    svidsLine(view.rotation, left),
    ...nextRotation(view.proxies, nowMs),
    ...oldestUnanswered(view.proxies, nowMs),
    `proxies: ${view.proxies.length}`,
    ...view.proxies.flatMap((proxy) => ['', ...proxyLines(proxy, left, nowMs)]),
  ];
  return lines.map((line) => `${oneLine(line)}\n`).join('');
}

type Left = (timeMs: number | null) => string;

function policyLines(policy: StatusView['policy'], nowMs: number): string[] {
  const { entries, revision, loadedAtMs, warnings, lastError } = policy;
  return [
    [
      `policy: ${entries ?? '?'} ${entries === 1 ? 'entry' : 'entries'}`,
      ...(revision === null ? [] : [`revision ${revision}`]),
      ...(loadedAtMs === null ? [] : [`loaded ${age(loadedAtMs, nowMs)} ago`]),
    ].join(', '),
    ...(lastError === null ? [] : [`  the last change was REFUSED: ${lastError}`]),
    ...(warnings
      ? [`  ${warnings} ${warnings === 1 ? 'warning' : 'warnings'}, see credence check`]
      : []),
  ];
}

function svidsLine({ held, due, earliestNotAfterMs }: StatusView['rotation'], left: Left): string {
  const first =
    earliestNotAfterMs === null ? '' : `, the first expires in ${left(earliestNotAfterMs)}`;
  return `SVIDs: ${held ?? '?'} held, ${due ?? '?'} overdue for renewal${first}`;
}

/** The countdown that `--watch` shows. */
function nextRotation(proxies: readonly ProxyView[], nowMs: number): string[] {
  const next = earliest(proxies, ({ nextRotationMs }) => nextRotationMs);
  return next ? [`next rotation: in ${timeLeft(next.timeMs, nowMs)} (${next.whose})`] : [];
}

function oldestUnanswered(proxies: readonly ProxyView[], nowMs: number): string[] {
  const oldest = earliest(proxies, (secret) => (isUnanswered(secret) ? secret.sentAtMs : null));
  return oldest
    ? [`oldest push without an answer: ${age(oldest.timeMs, nowMs)} (${oldest.whose})`]
    : [];
}

/** The secret whose time is the earliest of all, and what it is called. */
function earliest(
  proxies: readonly ProxyView[],
  timeOf: (secret: SecretState) => number | null,
): { timeMs: number; whose: string } | undefined {
  let best: { timeMs: number; whose: string } | undefined;
  for (const { pid, streams } of proxies) {
    for (const secret of streams.flatMap(({ secrets }) => secrets)) {
      const timeMs = timeOf(secret);
      if (timeMs === null || (best && best.timeMs <= timeMs)) continue;
      best = { timeMs, whose: `pid ${pid ?? '?'}, ${secret.name}` };
    }
  }
  return best;
}

/** How long until a time, negative when it is past; `-` when there is none. */
export function timeLeft(timeMs: number | null, nowMs: number): string {
  return timeMs === null ? '-' : formatDuration(timeMs - nowMs);
}

function age(timeMs: number, nowMs: number): string {
  return formatDuration(Math.max(nowMs - timeMs, 0));
}

function proxyLines(
  { pid, uid, nodeId, envoyVersion, streams }: ProxyView,
  left: Left,
  nowMs: number,
): string[] {
  const envoy = envoyVersion === null ? '' : `, Envoy ${envoyVersion}`;
  const node = nodeId === null ? '' : `, node ${nodeId}`;
  return [
    `pid ${pid ?? '?'} uid ${uid ?? '?'}${node}${envoy}`,
    ...streams.flatMap(({ secrets, waiting }) => [
      ...secrets.map((secret) => `  ${secretText(secret, left, nowMs)}`),
      ...waiting.map((reason) => `  waiting: ${reason}`),
    ]),
  ];
}

function secretText(secret: SecretState, left: Left, nowMs: number): string {
  const life =
    secret.serial === null
      ? ''
      : `, serial ${secret.serial}, expires in ${left(secret.notAfterMs)}, rotates in ${left(secret.nextRotationMs)}`;
  return `${secret.name}: ${stateText(secret, nowMs)}${life}`;
}

/** Where a secret is between the daemon and its proxy. */
export function stateText(secret: SecretState, nowMs: number): string {
  const { sent, sentAtMs, absent, acknowledged, refused } = secret;
  const short = (version: string) => version.slice(0, SHORT);
  if (refused !== null) {
    const kept = acknowledged === null ? 'nothing is' : `${short(acknowledged)} stays`;
    return `${short(refused.version)} REFUSED, ${kept} in use: "${refused.text}"`;
  }
  if (absent) return '- DENIED, the proxy was told so';
  if (sent === null) return '- not sent yet';
  if (!isUnanswered(secret)) return `${short(sent)} accepted`;
  const since = sentAtMs === null ? '' : ` ${age(sentAtMs, nowMs)} ago`;
  return `${short(sent)} sent${since}, not answered yet`;
}

function isUnanswered({ sent, acknowledged, refused }: SecretState): boolean {
  return sent !== null && sent !== acknowledged && sent !== refused?.version;
}
