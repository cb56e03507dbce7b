import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAccountNames } from '../attestation/names.ts';
import { errorText, IdentityError, systemCode } from '../core/errors.ts';
import { systemRandom } from '../core/random.ts';
import { readPage, type Page } from '../ui/page-file.ts';
import { createPictures, type Look } from '../ui/pictures.ts';
import { createUiServer } from '../ui/server.ts';
import { askAdminJson } from './admin-client.ts';
import { textOf, type Action, type Given, type Terminal } from './command.ts';
import { EXIT } from './exit.ts';
import { record, text } from './json-fields.ts';
import { adminSocket } from './sockets.ts';
import { statusPage } from './ui-view.ts';

const HOST = '127.0.0.1';
/** 256 bits: nobody guesses it. */
const TOKEN_BYTES = 32;

/** `credence ui`: serves a page on loopback until the user ends it. */
export const ui: Action = async (given, _operands, terminal) => {
  const port = portOf(given);
  const look = lookerAt(await adminSocket(given, terminal), terminal);
  // A wrong path or a lack of rights is told here rather than on a page.
  await look();
  const page = builtPage();
  // Not in the arguments of a process, which everybody on the machine can read: who started this
  // copies the address or clicks on it.
  const token = systemRandom.bytes(TOKEN_BYTES).toString('base64url');
  const bound = { token, port };
  const server = createUiServer(
    { page, picture: createPictures(look, terminal.clock) },
    () => bound,
    {
      clock: terminal.clock,
      onFull: (count) =>
        terminal.err(`credence: too many connections, ${count} of the oldest were cut off\n`),
    },
  );
  try {
    bound.port = await listen(server, port);
    terminal.out(`http://${HOST}:${bound.port}/${token}/\n`);
    terminal.err(
      'credence: who has this address sees what credence status shows; Ctrl-C ends it\n',
    );
    await aborted(terminal.signal);
  } finally {
    server.close();
    server.closeAllConnections();
  }
  return EXIT.done;
};

function portOf(given: Given): number {
  const asked = textOf(given, 'port');
  if (asked === undefined) return 0;
  const port = /^\d{1,5}$/.test(asked) ? Number(asked) : NaN;
  if (port <= 65_535) return port;
  throw new IdentityError('ERR_USAGE', `--port is "${asked}", expected a number up to 65535`, {
    hint: 'without it, or with 0, the system chooses a free one',
  });
}

function lookerAt(socket: string, terminal: Terminal): Look {
  const names = createAccountNames();
  return async () => {
    const document = await askAdminJson(socket, '/status', terminal);
    const now = Date.parse(text(record(document)['now']) ?? '');
    const users = names();
    return {
      status: statusPage(document, (uid) => users.user(uid)),
      nowMs: Number.isNaN(now) ? terminal.clock.now() : now,
    };
  };
}

/** The build puts the page beside the code. */
function builtPage(): Page {
  try {
    return readPage(new URL('./ui.html', import.meta.url));
  } catch (thrown) {
    throw new IdentityError('ERR_DISK', `cannot read the page: ${errorText(thrown)}`, {
      cause: thrown,
      hint: 'npm run build makes it',
    });
  }
}

async function listen(server: Server, port: number): Promise<number> {
  try {
    server.listen(port, HOST);
    await once(server, 'listening');
  } catch (thrown) {
    const reason = systemCode(thrown) === 'EADDRINUSE' ? 'it is in use' : errorText(thrown);
    throw new IdentityError('ERR_SOCKET', `cannot serve on ${HOST}:${port}: ${reason}`, {
      cause: thrown,
      hint: 'without --port the system chooses a free one',
    });
  }
  return (server.address() as AddressInfo).port;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
