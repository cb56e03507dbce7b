import { formatDuration } from '../core/duration.ts';
import { oneLine } from './printable.ts';
import type { ProxyView, SecretView, StatusView } from './status-view.ts';

/** Digits of a version: as many as tell versions apart at a glance. */
const SHORT = 12;

/** A status for people. Proxies choose some of the texts: each one stays within its line. */
export function statusText(view: StatusView, nowMs: number): string {
  const left: Left = (time) => timeLeft(time, nowMs);
  const lines = [
    `credence ${view.version} on ${view.nodeName}, trust domain ${view.trustDomain}, ${
      view.notReady.length === 0 ? 'ready' : `not ready: ${view.notReady.join(', ')}`
    }`,
    ...policyLines(view.policy, nowMs),
    ...view.authorities.map(({ slot, notAfter }) => `authority ${slot}: ${left(notAfter)} left`),
    svidsLine(view.rotation, left),
    ...nextRotation(view.proxies, nowMs),
    ...oldestUnanswered(view.proxies, nowMs),
    `proxies: ${view.proxies.length}`,
    ...view.proxies.flatMap((proxy) => ['', ...proxyLines(proxy, left, nowMs)]),
  ];
  return lines.map((line) => `${oneLine(line)}\n`).join('');
}

type Left = (time: string | null) => string;

function policyLines(policy: StatusView['policy'], nowMs: number): string[] {
  const { entries, revision, loadedAt, lastError } = policy;
  const age = nowMs - Date.parse(loadedAt ?? '');
  return [
    [
      `policy: ${entries ?? '?'} ${entries === 1 ? 'entry' : 'entries'}`,
      ...(revision === null ? [] : [`revision ${revision}`]),
      ...(Number.isNaN(age) ? [] : [`loaded ${formatDuration(Math.max(age, 0))} ago`]),
    ].join(', '),
    ...(lastError === null ? [] : [`  the last change was REFUSED: ${lastError}`]),
  ];
}

function svidsLine({ held, due, earliestNotAfter }: StatusView['rotation'], left: Left): string {
  const first = earliestNotAfter === null ? '' : `, the first expires in ${left(earliestNotAfter)}`;
  return `SVIDs: ${held ?? '?'} held, ${due ?? '?'} overdue for renewal${first}`;
}

/** The countdown that `--watch` shows. */
function nextRotation(proxies: readonly ProxyView[], nowMs: number): string[] {
  const next = earliest(proxies, ({ nextRotation: time }) => time);
  return next ? [`next rotation: in ${timeLeft(next.time, nowMs)} (${next.whose})`] : [];
}

function oldestUnanswered(proxies: readonly ProxyView[], nowMs: number): string[] {
  const oldest = earliest(proxies, (secret) => (isUnanswered(secret) ? secret.sentAt : null));
  return oldest
    ? [`oldest push without an answer: ${age(oldest.time, nowMs)} (${oldest.whose})`]
    : [];
}

/** The secret whose time is the earliest of all, and what it is called. */
function earliest(
  proxies: readonly ProxyView[],
  timeOf: (secret: SecretView) => string | null,
): { time: string; whose: string } | undefined {
  let best: { ms: number; time: string; whose: string } | undefined;
  for (const { pid, streams } of proxies) {
    for (const secret of streams.flatMap(({ secrets }) => secrets)) {
      const time = timeOf(secret) ?? '';
      const ms = Date.parse(time);
      if (Number.isNaN(ms) || (best && best.ms <= ms)) continue;
      best = { ms, time, whose: `pid ${pid ?? '?'}, ${secret.name}` };
    }
  }
  return best;
}

/** How long until a time, negative when it is past; `-` when there is none. */
export function timeLeft(time: string | null, nowMs: number): string {
  const ms = Date.parse(time ?? '') - nowMs;
  return Number.isNaN(ms) ? '-' : formatDuration(ms);
}

function age(time: string | null, nowMs: number): string {
  const ms = nowMs - Date.parse(time ?? '');
  return Number.isNaN(ms) ? '-' : formatDuration(Math.max(ms, 0));
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

function secretText(secret: SecretView, left: Left, nowMs: number): string {
  const life =
    secret.serial === null
      ? ''
      : `, serial ${secret.serial}, expires in ${left(secret.notAfter)}, rotates in ${left(secret.nextRotation)}`;
  return `${secret.name}: ${stateText(secret, nowMs)}${life}`;
}

/** Where a secret is between the daemon and its proxy. */
export function stateText(secret: SecretView, nowMs: number): string {
  const { sent, sentAt, absent, acknowledged, refused } = secret;
  const short = (version: string) => version.slice(0, SHORT);
  if (refused !== null) {
    const kept = acknowledged === null ? 'nothing is' : `${short(acknowledged)} stays`;
    return `${short(refused.version)} REFUSED, ${kept} in use: "${refused.text}"`;
  }
  if (absent) return '- DENIED, the proxy was told so';
  if (sent === null) return '- not sent yet';
  if (!isUnanswered(secret)) return `${short(sent)} accepted`;
  const since = sentAt === null ? '' : ` ${age(sentAt, nowMs)} ago`;
  return `${short(sent)} sent${since}, not answered yet`;
}

function isUnanswered({ sent, acknowledged, refused }: SecretView): boolean {
  return sent !== null && sent !== acknowledged && sent !== refused?.version;
}
