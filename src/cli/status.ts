import { MessageChannel } from 'node:worker_threads';
import { sleep } from '../core/clock.ts';
import { formatDuration } from '../core/duration.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import { askAdminJson } from './admin-client.ts';
import type { Action, Terminal } from './command.ts';
import { EXIT } from './exit.ts';
import { oneLine } from './printable.ts';
import { adminSocket } from './sockets.ts';
import { parseStatus, type ProxyView, type SecretView, type StatusView } from './status-view.ts';

const WATCH_MS = 1000;
/** Digits of a version: as many as tell versions apart at a glance. */
const SHORT = 12;

/** `credence status`: every connected proxy and its secrets. */
export const status: Action = async (given, _operands, terminal) => {
  const watched = given['watch'] === true;
  if (watched && given['json'] === true) {
    throw new IdentityError('ERR_USAGE', 'credence status takes --json or --watch, not both', {
      hint: '--json prints one document and ends',
    });
  }
  const socket = await adminSocket(given, terminal);
  const ask = () => askAdminJson(socket, '/status', terminal);
  const document = await ask();
  const view = parseStatus(document);
  if (given['json'] === true) terminal.out(`${JSON.stringify(document, undefined, 2)}\n`);
  else if (watched) await watch(view, async () => parseStatus(await ask()), terminal);
  else terminal.out(statusText(view, terminal.clock.now()));
  return EXIT.done;
};

/** Draws until the signal; a daemon that goes away is shown as such, it may come back. */
async function watch(
  first: StatusView,
  ask: () => Promise<StatusView>,
  { clock, signal, out, clear }: Terminal,
): Promise<void> {
  // Timers do not keep a process alive, an open port does.
  const { port1: stay } = new MessageChannel();
  stay.ref();
  try {
    let text = statusText(first, clock.now());
    for (;;) {
      clear?.();
      out(clear ? text : `${text}\n`);
      await sleep(clock, WATCH_MS, { signal });
      text = await ask().then(
        (view) => statusText(view, clock.now()),
        (thrown: unknown) => `${oneLine(toIdentityError(thrown).message)}\n`,
      );
    }
  } catch (thrown) {
    if (!signal.aborted) throw thrown;
  } finally {
    stay.close();
  }
}

/** A status for people. Proxies choose some of the texts: each one stays within its line. */
export function statusText(view: StatusView, nowMs: number): string {
  const left: Left = (time) => {
    const ms = Date.parse(time ?? '') - nowMs;
    return Number.isNaN(ms) ? '-' : formatDuration(ms);
  };
  const lines = [
    `credence ${view.version} on ${view.nodeName}, trust domain ${view.trustDomain}, ${
      view.notReady.length === 0 ? 'ready' : `not ready: ${view.notReady.join(', ')}`
    }`,
    ...policyLines(view.policy, nowMs),
    ...view.authorities.map(({ slot, notAfter }) => `authority ${slot}: ${left(notAfter)} left`),
    svidsLine(view.rotation, left),
    `proxies: ${view.proxies.length}`,
    ...view.proxies.flatMap((proxy) => ['', ...proxyLines(proxy, left)]),
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

function proxyLines({ pid, uid, nodeId, envoyVersion, streams }: ProxyView, left: Left): string[] {
  const envoy = envoyVersion === null ? '' : `, Envoy ${envoyVersion}`;
  const node = nodeId === null ? '' : `, node ${nodeId}`;
  return [
    `pid ${pid ?? '?'} uid ${uid ?? '?'}${node}${envoy}`,
    ...streams.flatMap(({ secrets, waiting }) => [
      ...secrets.map((secret) => `  ${secretText(secret, left)}`),
      ...waiting.map((reason) => `  waiting: ${reason}`),
    ]),
  ];
}

function secretText(secret: SecretView, left: Left): string {
  const life =
    secret.serial === null
      ? ''
      : `, serial ${secret.serial}, expires in ${left(secret.notAfter)}, rotates in ${left(secret.nextRotation)}`;
  return `${secret.name}: ${stateText(secret)}${life}`;
}

function stateText({ sent, absent, acknowledged, refused }: SecretView): string {
  const short = (version: string) => version.slice(0, SHORT);
  if (refused !== null) {
    const kept = acknowledged === null ? 'nothing is' : `${short(acknowledged)} stays`;
    return `${short(refused.version)} REFUSED, ${kept} in use: "${refused.text}"`;
  }
  if (absent) return '- DENIED, the proxy was told so';
  if (sent === null) return '- not sent yet';
  return `${short(sent)} ${sent === acknowledged ? 'accepted' : 'sent, not answered yet'}`;
}
