import { Agent as PlainAgent, request as plainRequest, type IncomingMessage } from 'node:http';
import { Agent, request, type RequestOptions } from 'node:https';
import { isIP } from 'node:net';
import { checkServerIdentity } from 'node:tls';
import { abortReason, type Clock } from '../core/clock.ts';
import { errorText } from '../core/errors.ts';
import type { ApiAccess } from './access.ts';
import { eachLine } from './lines.ts';

/** What an API server answered that is no success. */
export class ApiRefusal extends Error {
  readonly code: number;
  /** What it asked to wait for, in milliseconds; 0 when it did not. */
  readonly retryAfterMs: number;

  constructor(code: number, message: string, retryAfterMs = 0) {
    super(message);
    this.name = 'ApiRefusal';
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The few calls that are made of an API server, or of a kubelet. */
export interface Api {
  /** The document at a path. Rejects with `ApiRefusal`, a system error, or the signal's reason. */
  get(path: string, options: { signal: AbortSignal }): Promise<unknown>;
  /**
   * Writes a document and resolves with what the server made of it; a `PATCH` is a merge patch
   * (RFC 7396). Rejects likewise.
   */
  send(
    method: 'POST' | 'PUT' | 'PATCH',
    path: string,
    body: object,
    options: { signal: AbortSignal },
  ): Promise<unknown>;
  /** Deletes what is at a path. Rejects likewise, with 404 where there is nothing. */
  delete(path: string, options: { signal: AbortSignal }): Promise<void>;
  /**
   * Calls `line` for each line of an answer that goes on; resolves when the server has ended it.
   * Rejects likewise, and when nothing has come for `silenceMs`.
   */
  lines(
    path: string,
    line: (text: string) => void,
    options: { signal: AbortSignal; silenceMs: number },
  ): Promise<void>;
  close(): void;
}

const GET_TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** A node has hundreds of pods of some kilobytes. */
const MAX_DOCUMENT_BYTES = 256 * 1024 * 1024;
const KEEP_ALIVE_MS = 15_000;

/** @param mostBytes how long a document may be */
export function createApi(
  access: ApiAccess,
  clock: Clock,
  { mostBytes = MAX_DOCUMENT_BYTES }: { readonly mostBytes?: number } = {},
): Api {
  const pool = { keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS, maxSockets: 8 };
  const plain = access.transport === 'plain';
  const createAgent = () => (plain ? new PlainAgent(pool) : new Agent(pool));
  // A watch holds its connection for minutes: none of the pool that lists go through.
  const short = createAgent();
  const long = createAgent();

  /** Gives up when there is no answer within the time; what follows it may take longer. */
  function open(
    path: string,
    agent: PlainAgent,
    signal: AbortSignal,
    sent?: { method: string; body?: string },
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const options: RequestOptions = {
        ...{ agent, path, signal },
        host: access.host,
        port: access.port,
        method: sent?.method ?? 'GET',
        headers: {
          accept: 'application/json',
          ...authorization(access),
          ...(sent?.body !== undefined ? { 'content-type': contentType(sent.method) } : {}),
        },
        ...verification(access),
      };
      const call = (plain ? plainRequest : request)(options, resolve);
      const timer = clock.after(CONNECT_TIMEOUT_MS, () => {
        call.destroy(late(CONNECT_TIMEOUT_MS));
      });
      call.once('response', () => timer.cancel());
      call.once('error', (error) => {
        timer.cancel();
        // Its certificate may be of a CA that has come since.
        access.refresh();
        reject(signal.aborted ? abortReason(signal) : error);
      });
      call.once('socket', (socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS));
      call.end(sent?.body);
    });
  }

  async function success(response: IncomingMessage): Promise<IncomingMessage> {
    const { statusCode = 0, headers } = response;
    if (statusCode === 200 || statusCode === 201) return response;
    if (statusCode === 401) access.refresh();
    const timer = clock.after(GET_TIMEOUT_MS, () => response.destroy(late(GET_TIMEOUT_MS)));
    const text = await textOf(response, 64 * 1024).catch(errorText);
    timer.cancel();
    const retryMs = Math.min(Number(headers['retry-after'] ?? 0) * 1000 || 0, 60_000);
    throw new ApiRefusal(statusCode, messageOf(text), retryMs);
  }

  /** What a successful answer holds. */
  async function bodyOf(opened: Promise<IncomingMessage>): Promise<string> {
    const response = await success(await opened);
    const timer = clock.after(GET_TIMEOUT_MS, () => response.destroy(late(GET_TIMEOUT_MS)));
    try {
      return await textOf(response, mostBytes);
    } finally {
      timer.cancel();
    }
  }

  return {
    get: async (path, { signal }) => parse(await bodyOf(open(path, short, signal))),
    async send(method, path, body, { signal }) {
      const sent = { method, body: JSON.stringify(body) };
      return parse(await bodyOf(open(path, short, signal, sent)));
    },
    async delete(path, { signal }) {
      await bodyOf(open(path, short, signal, { method: 'DELETE' }));
    },
    async lines(path, line, { signal, silenceMs }) {
      const response = await success(await open(path, long, signal));
      await eachLine(response, line, { clock, silenceMs });
      if (signal.aborted) throw abortReason(signal);
    },
    close() {
      for (const agent of [short, long]) agent.destroy();
    },
  };
}

const contentType = (method: string) =>
  method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';

function authorization(access: ApiAccess): { authorization?: string } {
  return access.transport === 'plain' ? {} : { authorization: `Bearer ${access.token()}` };
}

/** How the certificate of the other side is looked at. */
function verification(access: ApiAccess): RequestOptions {
  const { transport = 'tls', serverName } = access;
  if (transport === 'plain') return {};
  if (transport === 'unverified-tls') return { rejectUnauthorized: false };
  const ca = access.ca();
  if (serverName === undefined) return { ca };
  return {
    ca,
    // An address cannot be asked for by name, only looked for in the certificate.
    servername: isIP(serverName) === 0 ? serverName : '',
    checkServerIdentity: (_, certificate) => checkServerIdentity(serverName, certificate),
  };
}

/** The parser's own message would quote what it cannot read. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new Error('the answer is no JSON');
  }
}

const late = (ms: number) => new Error(`no answer within ${ms / 1000} s`);

async function textOf(response: IncomingMessage, mostBytes: number): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > mostBytes) throw new Error(`an answer of more than ${mostBytes} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** The message of a `Status`, the API's own form of a refusal. */
function messageOf(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    if (typeof message === 'string') return message;
  } catch {
    // A proxy in between answers something else.
  }
  return text.slice(0, 200);
}
