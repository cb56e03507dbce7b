import { formatDuration } from '../core/duration.ts';
import type { InUse, SecretState } from '../ui/view.ts';
import { oneLine } from './printable.ts';
import type { ProxyView, StatusView } from './status-view.ts';

/** Digits of a version: as many as tell versions apart at a glance. */
const SHORT = 12;

/** A status for people. Proxies choose some of the texts: each one stays within its line. */
export function statusText(view: StatusView, nowMs: number, check: string): string {
  const left: Left = (timeMs) => timeLeft(timeMs, nowMs);
  const lines = [
    `credence ${view.version} on ${view.nodeName}, trust domain ${view.trustDomain}, ${
      view.notReady.length === 0 ? 'ready' : `not ready: ${view.notReady.join(', ')}`
    }`,
    ...view.asked.flatMap((asked) => askedLine(asked, nowMs)),
    ...policyLines(view.policy, nowMs, check),
    ...view.manifests.map(manifestLine),
    ...view.authorities.map((authority) => authorityLine(authority, nowMs)),
    ...behindLines(view.bundleReaders),
    ...upstreamLines(view.upstream, nowMs),
    svidsLine(view.rotation, nowMs),
    ...nextRotation(view.proxies, nowMs),
    ...oldestUnanswered(view.proxies, nowMs),
    `proxies: ${view.proxies.length}`,
    ...view.proxies.flatMap((proxy) => ['', ...proxyLines(proxy, left, nowMs)]),
  ];
  return lines.map((line) => `${oneLine(line)}\n`).join('');
}

type Left = (timeMs: number | null) => string;

/** Whom an attestor cannot ask; and when it last heard of those who tell by themselves. */
function askedLine(asked: StatusView['asked'][number], nowMs: number): string[] {
  const { attestor, who, at, heardAtMs, failingSinceMs, reason } = asked;
  const tells = attestor === 'kubernetes';
  const heard = heardAtMs === null ? 'not heard yet' : `last heard ${age(heardAtMs, nowMs)} ago`;
  if (failingSinceMs === null) return tells ? [`${who} at ${at}: ${heard}`] : [];
  const since = `for ${age(failingSinceMs, nowMs)}${tells ? `, ${heard}` : ''}`;
  return [`${who} at ${at} CANNOT BE ASKED ${since}: ${reason ?? '?'}`];
}

function policyLines(policy: StatusView['policy'], nowMs: number, check: string): string[] {
  const { entries, revision, loadedAtMs, warnings, lastError } = policy;
  return [
    [
      `policy: ${entries ?? '?'} ${entries === 1 ? 'entry' : 'entries'}`,
      ...(revision === null ? [] : [`revision ${revision}`]),
      ...(loadedAtMs === null ? [] : [`loaded ${age(loadedAtMs, nowMs)} ago`]),
    ].join(', '),
    ...(lastError === null ? [] : [`  the last change was REFUSED: ${lastError}`]),
    ...(warnings ? [`  ${warnings} ${warnings === 1 ? 'warning' : 'warnings'}, see ${check}`] : []),
  ];
}

function authorityLine(authority: StatusView['authorities'][number], nowMs: number): string {
  const { slot, notAfterMs, tainted, revoked } = authority;
  const life = expiredText(notAfterMs, nowMs) ?? `${timeLeft(notAfterMs, nowMs)} left`;
  return [`authority ${slot}: ${life}`, tainted && 'TAINTED', revoked && 'REVOKED']
    .filter(Boolean)
    .join(', ');
}

/** Whom the next authority waits for. */
function behindLines({ readers, behind }: StatusView['bundleReaders']): string[] {
  if (readers === null || behind === null || behind === 0) return [];
  const all = `${readers} ${readers === 1 ? 'proxy has' : 'proxies have'}`;
  return [`  ${behind} of ${all} not acknowledged the bundle as it is now`];
}

/** Where the issuing CA comes from files: whether they are used as they are. */
function upstreamLines(upstream: StatusView['upstream'], nowMs: number): string[] {
  if (upstream === null) return [];
  const { certFile, loadedAtMs, lastError } = upstream;
  const loaded = loadedAtMs === null ? '' : `, good ${age(loadedAtMs, nowMs)} ago`;
  return [
    `upstream: ${certFile}${loaded}`,
    ...(lastError === null ? [] : [`  the last change was REFUSED: ${lastError}`]),
  ];
}

function manifestLine({ source, podsSelected, entries, note }: StatusView['manifests'][number]) {
  const pods =
    podsSelected === null ? '' : `: ${podsSelected} pods here, ${entries ?? '?'} with an ID`;
  return `  ${source}${pods}${note === null ? '' : `: ${note}`}`;
}

function svidsLine(
  { held, due, earliestNotAfterMs }: StatusView['rotation'],
  nowMs: number,
): string {
  const life =
    expiredText(earliestNotAfterMs, nowMs) ?? `expires in ${timeLeft(earliestNotAfterMs, nowMs)}`;
  const first = earliestNotAfterMs === null ? '' : `, the first ${life}`;
  return `SVIDs: ${held ?? '?'} held, ${due ?? '?'} overdue for renewal${first}`;
}

/** Undefined for what has not expired. */
function expiredText(notAfterMs: number | null, nowMs: number): string | undefined {
  if (notAfterMs === null || notAfterMs > nowMs) return undefined;
  return `expired ${age(notAfterMs, nowMs)} ago`;
}

/** The countdown that `--watch` shows. */
function nextRotation(proxies: readonly ProxyView[], nowMs: number): string[] {
  const next = earliest(proxies, ({ nextRotationMs }) => nextRotationMs);
  return next ? [`next rotation: in ${timeLeft(next.timeMs, nowMs)} (${next.whose})`] : [];
}

function oldestUnanswered(proxies: readonly ProxyView[], nowMs: number): string[] {
  const oldest = earliest(proxies, ({ unansweredSinceMs }) => unansweredSinceMs);
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
  { pid, uid, nodeId, envoyVersion, refusals, streams }: ProxyView,
  left: Left,
  nowMs: number,
): string[] {
  const envoy = envoyVersion === null ? '' : `, Envoy ${envoyVersion}`;
  const node = nodeId === null ? '' : `, node ${nodeId}`;
  const kinds = kindsText(streams);
  const isWaited = (reason: string) => streams.some(({ waiting }) => waiting.includes(reason));
  return [
    `pid ${pid ?? '?'} uid ${uid ?? '?'}${node}${envoy}${kinds === '' ? '' : `, ${kinds}`}`,
    ...doubledText(streams),
    ...streams.flatMap(({ secrets, waiting, absentNotShown }) => [
      ...secrets.map((secret) => `  ${secretText(secret, left, nowMs)}`),
      ...(absentNotShown > 0 ? [`  and ${absentNotShown} more that were DENIED`] : []),
      ...waiting.map((reason) => `  waiting: ${reason}`),
    ]),
    ...refusals
      .filter(({ reason }) => !isWaited(reason))
      .map(({ reason, atMs }) => {
        const when = atMs === null ? '' : ` ${age(atMs, nowMs)} ago`;
        return `  refused${when}: ${reason}`;
      }),
  ];
}

/**
 * An Envoy takes a certificate where its roots belong without a word and verifies nobody: then the
 * same name is asked for twice and no roots are. Two one-way TLS listeners look the same.
 */
function doubledText(streams: ProxyView['streams']): string[] {
  const secrets = streams.flatMap((stream) => stream.secrets).filter(({ sent }) => sent !== null);
  if (secrets.some(({ serial }) => serial === null)) return [];
  const names = secrets.map(({ name }) => name);
  const doubled = new Set(names.filter((name, at) => names.indexOf(name) !== at));
  return Array.from(
    doubled,
    (name) =>
      `  ${name} is asked for more than once and no roots are: if one stands where roots belong, this Envoy verifies NOBODY (--envoy-admin tells)`,
  );
}

/** How many streams of which protocol, as in `2 sotw, 1 delta`. */
function kindsText(streams: ProxyView['streams']): string {
  const counts = new Map<string, number>();
  for (const { kind } of streams) if (kind !== null) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return Array.from(counts, ([kind, n]) => `${n} ${kind}`).join(', ');
}

/** The life it tells of is that of the certificate in use, whatever else is on its way. */
function secretText(secret: SecretState, left: Left, nowMs: number): string {
  const { name, state, inUse, nextRotationMs } = secret;
  const life =
    inUse?.serial == null ? [] : [`serial ${inUse.serial}`, expiryText(inUse.notAfterMs, nowMs)];
  const next = nextRotationMs === null || state === 'withdrawn' ? [] : [left(nextRotationMs)];
  return [
    `${name}: ${stateText(secret, nowMs)}`,
    ...(state === 'unanswered' && secret.refused === null ? [keptText(inUse)] : []),
    ...life,
    ...next.map((when) => `rotates in ${when}`),
  ].join(', ');
}

/** Peers refuse what has expired, and a proxy without an answer goes on showing it. */
function expiryText(notAfterMs: number | null, nowMs: number): string {
  return notAfterMs !== null && notAfterMs <= nowMs
    ? `EXPIRED ${age(notAfterMs, nowMs)} ago`
    : `expires in ${timeLeft(notAfterMs, nowMs)}`;
}

function keptText(inUse: InUse | null): string {
  if (inUse === null) return 'nothing in use';
  const { version, notAfterMs } = inUse;
  return `${short(version)} in use${notAfterMs === null ? '' : ` until ${wholeSecond(notAfterMs)}`}`;
}

/** Where a secret is between the daemon and its proxy. */
export function stateText(secret: SecretState, nowMs: number): string {
  const { state, sent, sentAtMs, unansweredSinceMs, refused, inUse } = secret;
  if (state === 'withdrawn') {
    return inUse === null ? 'WITHDRAWN' : `WITHDRAWN, but the proxy keeps ${keptText(inUse)}`;
  }
  if (state === 'absent') return '- DENIED, the proxy was told so';
  if (refused !== null) {
    const kept = inUse === null ? 'nothing is' : `${short(inUse.version)} stays`;
    return `${short(refused.version)} REFUSED, ${kept} in use: "${refused.text}"`;
  }
  if (state === 'none' || sent === null) return '- not sent yet';
  if (state === 'accepted') return `${short(sent)} accepted`;
  const since = sentAtMs === null ? '' : ` ${age(sentAtMs, nowMs)} ago`;
  const silence =
    unansweredSinceMs === null || sentAtMs === null || unansweredSinceMs >= sentAtMs
      ? 'not answered yet'
      : `no answer for ${age(unansweredSinceMs, nowMs)}`;
  return `${short(sent)} sent${since}, ${silence}`;
}

const short = (version: string) => version.slice(0, SHORT);

/** A moment as certificates have it (RFC 5280 4.1.2.5): in whole seconds. */
export function wholeSecond(timeMs: number): string {
  return new Date(timeMs).toISOString().replace('.000', '');
}
