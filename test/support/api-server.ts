import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What it does with a request; the answer is not ended by itself. */
export type Behaviour = (request: IncomingMessage, response: ServerResponse) => void;

/** An HTTPS server that speaks like an API server, or as badly as a test wants. */
export interface ApiServer extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  readonly caFile: string;
  readonly tokenFile: string;
  /** Paths with their queries, in the order they were asked for. */
  readonly asked: readonly string[];
  /** For the next request, and for all after it until there is another. */
  behave(...next: readonly Behaviour[]): void;
  setToken(token: string): void;
}

export async function startApiServer(): Promise<ApiServer> {
  const folder = mkdtempSync(join(tmpdir(), 'credence-api-'));
  const [keyFile, caFile, tokenFile] = ['key.pem', 'ca.crt', 'token'].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  const subject = ['-subj', '/CN=api', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  execFileSync(
    'openssl',
    ['req', '-x509', ...key, '-keyout', keyFile, '-out', caFile, '-days', '1', ...subject],
    { stdio: 'ignore' },
  );
  let token = 'token-1';
  writeFileSync(tokenFile, token);
  const asked: string[] = [];
  let behaviours: Behaviour[] = [];
  const server = createServer({ key: readFileSync(keyFile), cert: readFileSync(caFile) });
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    asked.push(request.url ?? '');
    response.on('error', () => undefined);
    if (request.headers.authorization !== `Bearer ${token}`) {
      return void response.writeHead(401).end('{"message":"Unauthorized"}');
    }
    const behave = behaviours.length > 1 ? behaviours.shift() : behaviours[0];
    behave?.(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    ...{
      host: '127.0.0.1',
      port: (server.address() as AddressInfo).port,
      caFile,
      tokenFile,
      asked,
    },
    behave: (...next) => void (behaviours = [...next]),
    setToken(next) {
      token = next;
      writeFileSync(tokenFile, next);
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
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
