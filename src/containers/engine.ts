import { request, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { abortReason, type Clock } from '../core/clock.ts';
import { IdentityError, errorText, systemCode } from '../core/errors.ts';
import { readInspection, type Inspection } from './inspection.ts';

/** A container engine that listens on a Unix socket. */
export interface EngineSocket {
  readonly path: string;
  /** Whose socket it has to be; undefined: whoever the administrator let listen there. */
  readonly uid: number | undefined;
  /** Of an answer. */
  readonly mostBytes: number;
}

export interface EngineDeps {
  readonly clock: Clock;
  /** The user at the other end of a connected socket. */
  readonly peerUid: (socket: Socket) => number;
}

/** An engine that is busy starting containers takes hundreds of milliseconds. */
const DEADLINE_MS = 5000;

/**
 * Asks an engine for a container. Rejects with `ERR_ATTESTATION` when it cannot be asked, does not
 * answer in time or answers anything but that container, or with the signal's reason.
 */
export async function inspect(
  engine: EngineSocket,
  id: string,
  { clock, peerUid }: EngineDeps,
  { signal }: { signal: AbortSignal },
): Promise<Inspection> {
  if (signal.aborted) throw abortReason(signal);
  const socket = connect(engine.path);
  // For as long as it lives: what fails is told by whoever waits for it.
  socket.on('error', () => undefined);
  const timer = clock.after(DEADLINE_MS, () => {
    socket.destroy(new Error(`no answer within ${DEADLINE_MS / 1000} s`));
  });
  const onAbort = () => void socket.destroy(abortReason(signal));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await connected(socket);
    if (engine.uid !== undefined && peerUid(socket) !== engine.uid) {
      throw new Error(`it is not a socket of uid ${engine.uid}`);
    }
    const response = await ask(socket, `/containers/${id}/json`);
    const text = await success(response, engine.mostBytes);
    return readInspection(JSON.parse(text), id);
  } catch (thrown) {
    const why = socket.errored ?? thrown;
    throw why === signal.reason ? why : failed(engine, why);
  } finally {
    signal.removeEventListener('abort', onAbort);
    timer.cancel();
    socket.destroy();
  }
}

function connected(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('connect', resolve).once('error', reject);
    socket.once('close', () => reject(new Error('the connection was closed')));
  });
}

/** Without a version in the path both engines answer in their newest form. */
function ask(socket: Socket, path: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { host: 'localhost', accept: 'application/json', connection: 'close' };
    const call = request({ path, headers, createConnection: () => socket }, resolve);
    call.on('error', reject);
    call.end();
  });
}

async function success(response: IncomingMessage, mostBytes: number): Promise<string> {
  const { statusCode = 0 } = response;
  if (statusCode === 404) throw new Error('it knows no such container');
  if (statusCode !== 200) throw new Error(`it answers with status ${statusCode}`);
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > mostBytes) throw new Error(`it answers with more than ${mostBytes} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket',
  ECONNREFUSED: 'nobody listens there',
  EACCES: 'credence may not connect there',
};

function failed({ path }: EngineSocket, thrown: unknown): IdentityError {
  if (thrown instanceof IdentityError) return thrown;
  const why =
    thrown instanceof SyntaxError
      ? 'it does not answer in JSON'
      : (REASONS[systemCode(thrown) ?? ''] ?? errorText(thrown));
  return new IdentityError('ERR_ATTESTATION', `cannot ask the engine at ${path}: ${why}`, {
    cause: thrown,
  });
}
