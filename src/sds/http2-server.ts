import { EventEmitter } from 'node:events';
import type { Http2Server, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Server } from '@grpc/grpc-js';
import { IdentityError } from '../core/errors.ts';

/** What is done with a stream that a peer has opened. */
export type StreamHandler = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

/**
 * The HTTP/2 server behind the one connection injector of a grpc-js server, to which there is no
 * public way. The version of grpc-js is pinned; without the server nothing starts.
 */
export function http2ServerOf(server: Server): Http2Server {
  const servers: unknown = Reflect.get(server, 'http2Servers');
  const first: unknown = servers instanceof Map ? servers.keys().next().value : undefined;
  if (isHttp2Server(first)) return first;
  throw new IdentityError('ERR_BUG', 'grpc-js keeps its HTTP/2 server in another place');
}

/** Puts a handler in the place of what grpc-js does with streams; `wrap` is given the latter. */
export function wrapStreamHandler(
  server: Http2Server,
  wrap: (handler: StreamHandler) => StreamHandler,
): void {
  const [handler, ...more] = server.listeners('stream') as StreamHandler[];
  if (!handler || more.length > 0) {
    throw new IdentityError('ERR_BUG', 'grpc-js listens to streams in another way');
  }
  server.removeListener('stream', handler);
  server.on('stream', wrap(handler.bind(server)));
}

function isHttp2Server(value: unknown): value is Http2Server {
  return value instanceof EventEmitter;
}
