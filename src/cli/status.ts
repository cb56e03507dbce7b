import { MessageChannel } from 'node:worker_threads';
import { sleep } from '../core/clock.ts';
import { formatDuration } from '../core/duration.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import { askAdminJson } from './admin-client.ts';
import type { Action, Terminal } from './command.ts';
import { EXIT } from './exit.ts';
import { adminSocket } from './sockets.ts';

interface SecretView {
  readonly name: string;
  readonly sent: string | null;
  readonly acknowledged: string | null;
  readonly refused: { readonly version: string; readonly text: string } | null;
  readonly serial: string | null;
  readonly not_after: string | null;
  readonly next_rotation: string | null;
}

interface StatusView {
  readonly version: string;
  readonly node_name: string;
  readonly trust_domain: string;
  readonly not_ready: readonly string[];
  readonly policy: { readonly entries: number; readonly last_error: string | null };
  readonly authorities: readonly { readonly slot: string; readonly not_after: string }[];
  readonly proxies: readonly {
    readonly pid: number;
    readonly uid: number;
    readonly node_id: string | null;
    readonly envoy_version: string | null;
    readonly streams: readonly {
      readonly waiting: readonly string[];
      readonly secrets: readonly SecretView[];
    }[];
  }[];
}

const WATCH_MS = 1000;
const CLEAR_SCREEN = '\x1b[H\x1b[2J\x1b[3J';

/** `credence status`: every connected proxy and its secrets. */
export const status: Action = async (given, _operands, terminal) => {
  const watched = given['watch'] === true;
  if (watched && given['json'] === true) {
    throw new IdentityError('ERR_USAGE', 'credence status takes --json or --watch, not both', {
      hint: '--json prints one document and ends',
    });
  }
  const socket = await adminSocket(given, terminal);
  const ask = async () => toView(await askAdminJson(socket, '/status', terminal));
  const view = await ask();
  if (given['json'] === true) terminal.out(`${JSON.stringify(view, undefined, 2)}\n`);
  else if (watched) await watch(view, ask, terminal);
  else terminal.out(statusText(view, terminal.clock.now()));
  return EXIT.done;
};

/** Draws until the signal; a daemon that goes away is shown as such, it may come back. */
async function watch(
  first: StatusView,
  ask: () => Promise<StatusView>,
  { clock, signal, out, outIsTTY }: Terminal,
): Promise<void> {
  // Timers do not keep a process alive, an open port does.
  const { port1: stay } = new MessageChannel();
  stay.ref();
  try {
    let text = statusText(first, clock.now());
    for (;;) {
      out(outIsTTY ? `${CLEAR_SCREEN}${text}` : `${text}\n`);
      await sleep(clock, WATCH_MS, { signal });
      text = await ask().then(
        (view) => statusText(view, clock.now()),
        (thrown: unknown) => `${toIdentityError(thrown).message}\n`,
      );
    }
  } catch (thrown) {
    if (!signal.aborted) throw thrown;
  } finally {
    stay.close();
  }
}

function toView(document: unknown): StatusView {
  const fits =
    typeof document === 'object' &&
    document !== null &&
    'proxies' in document &&
    Array.isArray(document.proxies) &&
    'authorities' in document &&
    Array.isArray(document.authorities);
  if (!fits) throw new IdentityError('ERR_UNREACHABLE', 'the daemon answered something else');
  return document as unknown as StatusView;
}

/** The document of `/status` for people. */
export function statusText(view: StatusView, nowMs: number): string {
  const left = (time: string | null) =>
    time === null ? '-' : formatDuration(Date.parse(time) - nowMs);
  const lines = [
    `credence ${view.version} on ${view.node_name}, trust domain ${view.trust_domain}, ${
      view.not_ready.length === 0 ? 'ready' : `not ready: ${view.not_ready.join(', ')}`
    }`,
    `policy: ${view.policy.entries} entries`,
    ...(view.policy.last_error === null
      ? []
      : [`  the last change was refused: ${view.policy.last_error}`]),
    ...view.authorities.map(({ slot, not_after }) => `authority ${slot}: ${left(not_after)} left`),
    `proxies: ${view.proxies.length}`,
  ];
  for (const proxy of view.proxies) {
    const envoy = proxy.envoy_version === null ? '' : `, Envoy ${proxy.envoy_version}`;
    const node = proxy.node_id === null ? '' : `, node ${clean(proxy.node_id)}`;
    lines.push('', `pid ${proxy.pid} uid ${proxy.uid}${node}${envoy}`);
    for (const { secrets, waiting } of proxy.streams) {
      for (const secret of secrets) lines.push(`  ${secretText(secret, left)}`);
      for (const reason of waiting) lines.push(`  waiting: ${clean(reason)}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

function secretText(secret: SecretView, left: (time: string | null) => string): string {
  const { sent, acknowledged, refused } = secret;
  const state =
    refused !== null
      ? `REFUSED: ${clean(refused.text)}`
      : sent === null
        ? 'not sent yet'
        : sent === acknowledged
          ? 'accepted'
          : 'sent, not answered yet';
  const life =
    secret.serial === null
      ? ''
      : `, serial ${secret.serial}, expires in ${left(secret.not_after)}, rotates in ${left(secret.next_rotation)}`;
  return `${clean(secret.name)}: ${sent?.slice(0, 12) ?? '-'} ${state}${life}`;
}

/** Proxies choose these texts: nothing in them may steer a terminal. */
function clean(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?');
}
