import { request, type IncomingMessage } from 'node:http';
import type { Clock } from '../core/clock.ts';

/** Where to ask: a Unix socket, or a host and port. */
export type HttpTarget =
  { readonly socketPath: string } | { readonly host: string; readonly port: number };

export interface HttpAnswer {
  readonly code: number;
  readonly body: string;
}

/** What bounds a question. */
export interface HttpBounds {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** For the whole answer, to its last byte. */
  readonly timeoutMs: number;
  readonly maxBytes: number;
}

interface HttpRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: string | undefined;
}

/** GET; see `httpAsk`. */
export function httpGet(target: HttpTarget, path: string, bounds: HttpBounds): Promise<HttpAnswer> {
  return httpAsk(target, { method: 'GET', path }, bounds);
}

/**
 * A request over a connection of its own, following nothing; rejects with whatever went wrong, with the
 * code ETIMEDOUT after `timeoutMs`.
 */
export function httpAsk(
  target: HttpTarget,
  { method, path, body: sent }: HttpRequest,
  { clock, signal, timeoutMs, maxBytes }: HttpBounds,
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const req = request({ ...target, path, method, agent: false, signal });
    // A request that is gone already says nothing when it is destroyed: the promise is settled here.
    const timer = clock.after(timeoutMs, () => {
      const late = new Error(`no answer within ${timeoutMs / 1000} s`);
      fail(Object.assign(late, { code: 'ETIMEDOUT' }));
    });
    const fail = (thrown: unknown) => {
      timer.cancel();
      req.destroy();
      reject(thrown instanceof Error ? thrown : new Error(String(thrown)));
    };
    let answered = false;
    req.on('response', (response) => {
      answered = true;
      readBody(response, maxBytes).then((body) => {
        timer.cancel();
        resolve({ code: response.statusCode ?? 0, body });
      }, fail);
    });
    // Without these the socket would be closed without a word to anybody.
    req.on('upgrade', ({ statusCode = 101 }, socket) => {
      socket.destroy();
      fail(new Error(`it answers ${statusCode}, which nobody asked for`));
    });
    req.on('close', () => {
      if (!answered) fail(new Error('it closed the connection without an answer'));
    });
    req.on('error', fail);
    req.end(sent);
  });
}

async function readBody(response: IncomingMessage, maxBytes: number): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > maxBytes) throw new Error(`its answer has more than ${maxBytes} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}
