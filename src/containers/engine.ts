import { request, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { abortReason, unlessAborted, type Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import { askFault, socketFault, type AskFault } from '../core/socket-fault.ts';
import { readInspection, type Inspection } from './inspection.ts';
import { holdUsersSocket, type HeldSocket, type UsersGround } from './users-socket.ts';

/** A container engine that listens on a Unix socket. */
export interface EngineSocket {
  readonly path: string;
  /** Whose socket it has to be; undefined: whoever the administrator let listen there. */
  readonly users: UsersGround | undefined;
  /** Of an answer. */
  readonly mostBytes: number;
}

export interface EngineDeps {
  readonly clock: Clock;
  /** The user at the other end of a connected socket. */
  readonly peerUid: (socket: Socket) => number;
  /** Told of an engine of the machine's whether it could be asked: why not, or undefined. */
  readonly told?: (path: string, why: AskFault | undefined) => void;
}

/** An engine that is busy starting containers takes hundreds of milliseconds. */
const DEADLINE_MS = 5000;
/** What may come beside the answer's own bytes: headers, and what frames its chunks. */
const FRAME_BYTES = 32 * 1024;
const HEADER_BYTES = 16 * 1024;

/**
 * Asks an engine for a container. Rejects with `ERR_ATTESTATION` when it cannot be asked, does not
 * answer in time or answers anything but that container, or with the signal's reason.
 */
export async function inspect(
  engine: EngineSocket,
  id: string,
  { clock, peerUid, told = () => undefined }: EngineDeps,
  { signal }: { signal: AbortSignal },
): Promise<Inspection> {
  if (signal.aborted) throw abortReason(signal);
  const end = new AbortController();
  const timer = clock.after(DEADLINE_MS, () => {
    end.abort(new Error(`no answer within ${DEADLINE_MS / 1000} s`));
  });
  const onAbort = () => end.abort(abortReason(signal));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const held = await hold(engine, end.signal);
    const socket = connect(held?.path ?? engine.path);
    const text = await conversation(socket, end.signal, async () => {
      await connected(socket).finally(() => held?.close());
      if (engine.users && peerUid(socket) !== engine.users.uid) {
        throw new Error(`it is not a socket of uid ${engine.users.uid}`);
      }
      const response = await ask(socket, `/containers/${id}/json`, engine.mostBytes);
      return success(response, engine.mostBytes);
    });
    const inspection = readInspection(parsed(text), id);
    if (!engine.users) told(engine.path, undefined);
    return inspection;
  } catch (thrown) {
    const why = end.signal.aborted ? abortReason(end.signal) : thrown;
    if (why === signal.reason) throw why;
    // What it answers about a container is that one's matter.
    const answered = why instanceof Answered || why instanceof IdentityError;
    if (!engine.users) told(engine.path, answered ? undefined : askFault(why));
    throw why instanceof IdentityError ? why : failed(engine, why);
  } finally {
    signal.removeEventListener('abort', onAbort);
    timer.cancel();
  }
}

/** Of a user's own engine alone; closed again when it comes too late. */
async function hold(
  { path, users }: EngineSocket,
  signal: AbortSignal,
): Promise<HeldSocket | undefined> {
  if (!users) return undefined;
  const holding = holdUsersSocket(path, users);
  try {
    return await unlessAborted(holding, signal);
  } catch (thrown) {
    holding.then((held) => held.close()).catch(() => undefined);
    throw thrown;
  }
}

/** Talks over a socket until the signal, and ends it; rejects with why that broke, if it did. */
async function conversation<T>(
  socket: Socket,
  signal: AbortSignal,
  talk: () => Promise<T>,
): Promise<T> {
  // For as long as it lives: what fails is told by whoever waits for it.
  socket.on('error', () => undefined);
  const onAbort = () => void socket.destroy(abortReason(signal));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await talk();
  } catch (thrown) {
    throw socket.errored ?? thrown;
  } finally {
    signal.removeEventListener('abort', onAbort);
    socket.destroy();
  }
}

function connected(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('connect', resolve).once('error', reject);
    socket.once('close', () => reject(new Error('the connection was closed')));
  });
}

/**
 * Without a version in the path both engines answer in their newest form. Neither answers for the time
 * being (1xx): who does so may do it for ever.
 */
function ask(socket: Socket, path: string, mostBytes: number): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { host: 'localhost', accept: 'application/json', connection: 'close' };
    const createConnection = () => socket;
    const options = { path, headers, createConnection, maxHeaderSize: HEADER_BYTES };
    const call = request(options, resolve);
    call.on('error', reject);
    call.on('information', () => socket.destroy(new Error('it does not come to its answer')));
    socket.on('data', () => {
      // The smallest chunks take more for their frames than they bring.
      if (socket.bytesRead > mostBytes + FRAME_BYTES) socket.destroy(tooLong(mostBytes));
    });
    call.end();
  });
}

async function success(response: IncomingMessage, mostBytes: number): Promise<string> {
  const { statusCode = 0 } = response;
  if (statusCode === 404) throw new Answered('it knows no such container');
  if (statusCode !== 200) throw new Answered(`it answers with status ${statusCode}`);
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > mostBytes) throw tooLong(mostBytes);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

const tooLong = (most: number) => new Answered(`it answers with more than ${most} bytes`);

/** It can be asked, though this answer is none to go on with. */
class Answered extends Error {}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Answered('it does not answer in JSON', { cause });
  }
}

function failed({ path }: EngineSocket, thrown: unknown): IdentityError {
  return new IdentityError(
    'ERR_ATTESTATION',
    `cannot ask the engine at ${path}: ${socketFault(thrown)}`,
    { cause: thrown },
  );
}
