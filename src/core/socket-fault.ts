import { accessSync, constants, statSync } from 'node:fs';
import { connect } from 'node:net';
import type { Clock } from './clock.ts';
import { errorText, systemCode } from './errors.ts';

const FAULTS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket',
  ENOTDIR: 'there is no such socket',
  ENOTSOCK: 'it is no socket',
  ECONNREFUSED: 'nobody listens there',
  EACCES: 'credence may not connect there',
};
const PATIENCE_MS = 5000;

/** Why a Unix socket could not be talked over, in words. */
export function socketFault(thrown: unknown): string {
  return FAULTS[systemCode(thrown) ?? ''] ?? errorText(thrown);
}

/** Why nobody could be asked over a socket. */
export interface AskFault {
  readonly reason: string;
  /** Whether somebody listens there and does not answer: that connecting works says nothing then. */
  readonly isMute: boolean;
}

export function askFault(thrown: unknown): AskFault {
  return { reason: socketFault(thrown), isMute: FAULTS[systemCode(thrown) ?? ''] === undefined };
}

/** What keeps somebody from connecting, as far as its file tells; nobody is woken by the look. */
export function socketFileFault(path: string): string | undefined {
  try {
    if (!statSync(path).isSocket()) return FAULTS['ENOTSOCK'];
    accessSync(path, constants.W_OK);
    return undefined;
  } catch (thrown) {
    return socketFault(thrown);
  }
}

/** Connects and says nothing; undefined when somebody listens. Never rejects. */
export function connectFault(path: string, clock: Clock): Promise<string | undefined> {
  const fault = socketFileFault(path);
  if (fault !== undefined) return Promise.resolve(fault);
  return new Promise((resolve) => {
    const socket = connect({ path });
    const done = (found: string | undefined) => {
      timer.cancel();
      socket.destroy();
      resolve(found);
    };
    const timer = clock.after(PATIENCE_MS, () => done(`no answer within ${PATIENCE_MS / 1000} s`));
    socket.once('connect', () => done(undefined));
    socket.once('error', (thrown) => done(socketFault(thrown)));
  });
}
