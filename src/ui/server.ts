import { createServer, type Server, type ServerResponse } from 'node:http';
import { limitConnections, type ConnectionLimit } from '../core/connection-limit.ts';
import { guard, type Asked, type Door, type Resource } from './guard.ts';
import type { Page } from './page-file.ts';
import type { Picture } from './pictures.ts';
import { NOW_HEADER } from './view.ts';

/** What is behind the door. */
export interface Shown {
  readonly page: Page;
  /** Never rejects: a daemon that cannot be asked is a picture, too. */
  readonly picture: () => Promise<Picture>;
}

/** Browsers open six connections to a host; a few of them look at once. */
const MAX_CONNECTIONS = 64;
/** What a browser sends is a tenth of it. */
const MAX_HEADER_BYTES = 8192;
/** Node looks every half minute for who takes too long, unless it is told. */
const SERVER_OPTIONS = { maxHeaderSize: MAX_HEADER_BYTES, connectionsCheckingInterval: 1000 };

/** Of every answer, also of those to strangers. */
const HEADERS = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  // The token is part of the address.
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'x-frame-options': 'DENY',
} as const;

const NO_CONTENT_POLICY = "default-src 'none'; frame-ancestors 'none'";

/**
 * HTTP for the page, to be bound to loopback; it reads and changes nothing. Everybody on the machine
 * can connect.
 */
export function createUiServer(
  { page, picture }: Shown,
  door: () => Door,
  limit: Pick<ConnectionLimit, 'clock' | 'onFull'>,
): Server {
  const show: Readonly<Record<Resource, (asked: Asked, to: ServerResponse) => Promise<void>>> = {
    page(_asked, to) {
      to.writeHead(200, {
        ...HEADERS,
        'content-type': 'text/html; charset=utf-8',
        'content-security-policy': page.contentSecurityPolicy,
        'content-length': page.html.length,
      });
      to.end(page.html);
      return Promise.resolve();
    },
    async status({ headers }, to) {
      const { body, etag, nowMs } = await picture();
      const common = {
        ...HEADERS,
        'content-security-policy': NO_CONTENT_POLICY,
        [NOW_HEADER]: String(Math.round(nowMs())),
        ...(etag === undefined ? {} : { etag }),
      };
      if (etag !== undefined && headers['if-none-match'] === etag) {
        to.writeHead(304, common).end();
        return;
      }
      to.writeHead(200, {
        ...common,
        'content-type': 'application/json',
        'content-length': body.length,
      });
      to.end(body);
    },
  };
  const server = createServer(SERVER_OPTIONS, (request, response) => {
    const { method, url: target, headers } = request;
    const asked = { method, target, headers };
    const verdict = guard(asked, door());
    if (verdict.kind === 'refuse') return refuse(response, verdict.code);
    show[verdict.resource](asked, response).catch(() => response.destroy());
  });
  // Whoever does not speak HTTP gets no answer.
  server.on('clientError', (_, socket) => socket.destroy());
  server.on('connect', (_, socket) => socket.destroy());
  server.on('upgrade', (_, socket) => socket.destroy());
  limitConnections(server, { ...limit, most: MAX_CONNECTIONS });
  server.headersTimeout = 5000;
  server.requestTimeout = 10_000;
  // Also of one who does not read.
  server.timeout = 30_000;
  return server;
}

/** Says nothing, and does not read what was sent along. */
function refuse(to: ServerResponse, code: number): void {
  const headers = { ...HEADERS, 'content-security-policy': NO_CONTENT_POLICY };
  to.writeHead(code, { ...headers, 'content-length': 0, connection: 'close' }).end();
}
