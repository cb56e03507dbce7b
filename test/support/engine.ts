import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What it does with a request; the answer is not ended by itself. */
export type EngineBehaviour = (request: IncomingMessage, response: ServerResponse) => void;

/** An HTTP server on a Unix socket that answers like docker or podman, or as badly as a test wants. */
export interface FakeEngine extends AsyncDisposable {
  readonly socketPath: string;
  /** Paths, in the order they were asked for. */
  readonly asked: readonly string[];
  /** How many were being answered at the most at once. */
  readonly busiest: number;
  /** For all requests until there is another. */
  behave(next: EngineBehaviour): void;
  close(): Promise<void>;
}

export async function startEngine(name = 'docker.sock'): Promise<FakeEngine> {
  const folder = mkdtempSync(join(tmpdir(), 'credence-engine-'));
  const socketPath = join(folder, name);
  const asked: string[] = [];
  let behave: EngineBehaviour = (_, response) => void response.writeHead(404).end('{}');
  let busy = 0;
  let busiest = 0;
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    busiest = Math.max(busiest, ++busy);
    response.once('close', () => busy--).on('error', () => undefined);
    behave(request, response);
  });
  server.listen(socketPath);
  await once(server, 'listening');
  let closing: Promise<unknown> | undefined;
  const close = async () => {
    server.closeAllConnections();
    closing ??= once(server.close(), 'close');
    await closing;
  };
  return {
    ...{ socketPath, asked },
    get busiest() {
      return busiest;
    },
    behave: (next) => void (behave = next),
    close,
    async [Symbol.asyncDispose]() {
      await close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** What an engine says of a container; the members that matter, and some of the many others. */
export interface ContainerParts {
  readonly id: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly env?: readonly string[];
  readonly image?: string;
  readonly digest?: string;
  readonly pid?: number;
}

export function inspected(parts: ContainerParts): object {
  const { id, labels = {}, env = [], image = 'web:1', digest = '', pid = 0 } = parts;
  return {
    Id: id,
    Created: '2030-01-01T00:00:00Z',
    Path: '/bin/web',
    Args: [],
    State: { Status: 'running', Running: true, Pid: pid, StartedAt: '2030-01-01T00:00:00Z' },
    Image: digest,
    Name: '/web',
    HostConfig: { NetworkMode: 'default', CgroupParent: '' },
    Config: { Hostname: id.slice(0, 12), Env: env, Cmd: null, Image: image, Labels: labels },
  };
}

/** Answers with one document. */
export const answer =
  (value: unknown, code = 200): EngineBehaviour =>
  (_, response) =>
    void response.writeHead(code).end(JSON.stringify(value));
