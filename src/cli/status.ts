import { sleep } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import { askAdminJson } from './admin-client.ts';
import { textOf, type Action, type Given, type Screen, type Terminal } from './command.ts';
import { compareCerts, type Comparison } from './compare-certs.ts';
import { comparisonDocument, comparisonText } from './comparison-text.ts';
import { fetchCerts, fetchEmptyRoots, parseEnvoyAdmin, type EnvoyAdmin } from './envoy-admin.ts';
import { EXIT } from './exit.ts';
import { record } from './json-fields.ts';
import { pidOf } from './pid.ts';
import { harmless, oneLine } from './printable.ts';
import { adminSocket, checkCommand } from './sockets.ts';
import { frame } from './status-frame.ts';
import { statusText } from './status-text.ts';
import { stayAlive } from './stay.ts';
import { parseStatus } from './status-view.ts';

const WATCH_MS = 1000;

/** What there is to see at one moment. */
interface Picture {
  readonly document: object;
  readonly text: string;
  /** Without the times that run: two pictures with one gist show the same. */
  readonly gist?: string;
  readonly exit: number;
}

/** `credence status`: every connected proxy and its secrets, or one Envoy beside what it was sent. */
export const status: Action = async (given, _operands, terminal) => {
  const watched = given['watch'] === true;
  if (watched && given['json'] === true) {
    throw new IdentityError('ERR_USAGE', 'credence status takes --json or --watch, not both', {
      hint: '--json prints one document and ends',
    });
  }
  const look = await lookerOf(given, terminal);
  const first = await look();
  if (watched) {
    await watch(first, look, terminal);
    return EXIT.done;
  }
  const json = given['json'] === true;
  terminal.out(json ? `${JSON.stringify(first.document, undefined, 2)}\n` : first.text);
  return first.exit;
};

/** Takes a picture whenever it is called. */
async function lookerOf(given: Given, terminal: Terminal): Promise<() => Promise<Picture>> {
  const address = textOf(given, 'envoy-admin');
  const pid = pidOf(given);
  if (address === undefined && pid !== undefined) {
    throw new IdentityError('ERR_USAGE', '--pid says which proxy --envoy-admin belongs to', {
      hint: 'credence status --envoy-admin 127.0.0.1:9901 --pid N',
    });
  }
  const envoy = address === undefined ? undefined : parseEnvoyAdmin(address);
  const socket = await adminSocket(given, terminal);
  const check = checkCommand(given, terminal);
  return async () => {
    const document = await askAdminJson(socket, '/status', terminal);
    return envoy ? compared(document, envoy, pid, terminal) : plain(document, check, terminal);
  };
}

function plain(document: unknown, check: string, { clock }: Terminal): Picture {
  const text = statusText(parseStatus(document), clock.now(), check);
  return { document: record(document), text, exit: EXIT.done };
}

async function compared(
  document: unknown,
  envoy: EnvoyAdmin,
  pid: number | undefined,
  terminal: Terminal,
): Promise<Picture> {
  const { proxies } = parseStatus(document);
  const found = compareCerts(proxies, await fetchCerts(envoy, terminal), pid);
  const comparison = await withEmptyRoots(found, envoy, terminal);
  const told = comparisonDocument(comparison, envoy.shown);
  return {
    document: { ...record(document), envoy_admin: told },
    text: comparisonText(comparison, envoy.shown, terminal.clock.now()),
    gist: JSON.stringify(told),
    exit: comparison.inSync ? EXIT.done : EXIT.no,
  };
}

/** Where peers are not verified: whether that is because something else stands in the roots' place. */
async function withEmptyRoots(
  comparison: Comparison,
  envoy: EnvoyAdmin,
  terminal: Terminal,
): Promise<Comparison> {
  if (comparison.withoutRoots.length === 0) return comparison;
  try {
    const emptyRoots = await fetchEmptyRoots(envoy, terminal);
    return { ...comparison, emptyRoots, inSync: comparison.inSync && emptyRoots.length === 0 };
  } catch (thrown) {
    if (terminal.signal.aborted) throw thrown;
    return { ...comparison, notSeen: toIdentityError(thrown).message };
  }
}

/** What is shown again and again: a picture, or why there is none. */
type Shown = Pick<Picture, 'text' | 'gist'>;

/** Draws until the signal; a daemon that goes away is shown as such, it may come back. */
async function watch(first: Shown, look: () => Promise<Shown>, terminal: Terminal): Promise<void> {
  const { clock, signal, screen } = terminal;
  const stay = stayAlive();
  try {
    const show = screen ? onScreen(screen) : onPaper(terminal);
    for (let shown = first; ;) {
      show(shown);
      await sleep(clock, WATCH_MS, { signal });
      shown = await look().catch(unseen);
    }
  } catch (thrown) {
    if (!signal.aborted) throw thrown;
  } finally {
    stay.close();
    screen?.restore();
  }
}

function unseen(thrown: unknown): Shown {
  const text = `${oneLine(toIdentityError(thrown).message)}\n`;
  return { text, gist: text };
}

const onScreen =
  (screen: Screen) =>
  ({ text }: Shown): void =>
    screen.draw(harmless(frame(text, screen.size())));

/** A file or a pipe keeps all of it: says when, and what has a gist only when that is another one. */
function onPaper({ clock, out }: Terminal): (shown: Shown) => void {
  let last: string | undefined;
  return ({ text, gist }) => {
    if (gist !== undefined && gist === last) return;
    last = gist;
    out(`${new Date(clock.now()).toISOString()}\n${text}\n`);
  };
}
