import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createPlainServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What it does with a request; the answer is not ended by itself. */
export type Behaviour = (request: IncomingMessage, response: ServerResponse) => void;

export interface ApiServerOptions {
  /** What its certificate is for. */
  readonly names?: string;
  /** No TLS, and nobody is asked for a token, as at the kubelet's read-only port. */
  readonly plain?: boolean;
}

/** A server that speaks like an API server or a kubelet, or as badly as a test wants. */
export interface ApiServer extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  readonly caFile: string;
  readonly tokenFile: string;
  /** Paths with their queries, in the order they were asked for. */
  readonly asked: readonly string[];
  /** For the next request, and for all after it until there is another. */
  behave(...next: readonly Behaviour[]): void;
  /** From now on it knows this token alone, which is in the file. */
  setToken(token: string): void;
  /** From now on it has a certificate of another CA, which is in the file. */
  replaceCa(): void;
  /** Takes no connection and breaks those there are, until it is `back`. */
  leave(): Promise<void>;
  back(): Promise<void>;
}

export async function startApiServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  const { names = 'IP:127.0.0.1', plain = false } = options;
  const folder = mkdtempSync(join(tmpdir(), 'credence-api-'));
  const [keyFile, caFile, tokenFile] = ['key.pem', 'ca.crt', 'token'].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  const certify = () => {
    const subject = ['-subj', '/CN=api', '-addext', `subjectAltName=${names}`];
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    const files = ['-keyout', keyFile, '-out', caFile];
    execFileSync('openssl', ['req', '-x509', ...key, ...files, '-days', '1', ...subject], {
      stdio: 'ignore',
    });
    return { key: readFileSync(keyFile), cert: readFileSync(caFile) };
  };
  let token = 'token-1';
  writeFileSync(tokenFile, token);
  const asked: string[] = [];
  let behaviours: Behaviour[] = [];
  const secure = createServer(certify());
  const server = plain ? createPlainServer() : secure;
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    asked.push(request.url ?? '');
    response.on('error', () => undefined);
    const { authorization } = request.headers;
    if (authorization !== (plain ? undefined : `Bearer ${token}`)) {
      return void response.writeHead(401).end('{"message":"Unauthorized"}');
    }
    const behave = behaviours.length > 1 ? behaviours.shift() : behaviours[0];
    behave?.(request, response);
  });
  let port = 0;
  const back = async () => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  };
  const leave = async () => {
    if (!server.listening) return;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  };
  await back();
  return {
    ...{
      host: '127.0.0.1',
      port,
      caFile,
      tokenFile,
      asked,
    },
    behave: (...next) => void (behaviours = [...next]),
    setToken(next) {
      token = next;
      writeFileSync(tokenFile, next);
    },
    replaceCa() {
      secure.setSecureContext(certify());
      server.closeAllConnections();
    },
    ...{ leave, back },
    async [Symbol.asyncDispose]() {
      await leave();
      rmSync(folder, { recursive: true });
    },
  };
}

/** Answers with one document. */
export const document =
  (value: unknown, code = 200): Behaviour =>
  (_, response) =>
    void response.writeHead(code).end(JSON.stringify(value));

/** A list of these at a version. */
export const listOf = (version: string, ...items: readonly object[]): Behaviour =>
  document({ metadata: { resourceVersion: version }, items });

/** A watch that tells of these and stays open. */
export const events =
  (...all: readonly object[]): Behaviour =>
  (_, response) => {
    response.writeHead(200);
    response.write(all.map((one) => `${JSON.stringify(one)}\n`).join(''));
  };

/** Breaks the connection without an answer. */
export const broken: Behaviour = (request) => void request.socket.destroy();

/** Ends in the middle of its answer. */
export const halved: Behaviour = (request, response) => {
  response.writeHead(200, { 'content-length': '1000' });
  response.write('{"kind":"PodList","items":[', () => request.socket.destroy());
};

/** Does the same, but takes its time. */
export const slowly =
  (ms: number, then: Behaviour): Behaviour =>
  (request, response) =>
    void setTimeout(() => then(request, response), ms);
