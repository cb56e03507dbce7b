import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { build, type AppDeps } from '../../src/app.ts';
import { parseConfig } from '../../src/config.ts';
import { systemClock } from '../../src/core/clock.ts';
import { systemRandom } from '../../src/core/random.ts';
import { FakeLogger } from './issuer.ts';

/** A policy entry as it stands in a document. */
export interface Entry {
  readonly spiffe_id: string;
  readonly selectors?: readonly string[];
  readonly federates_with?: readonly string[];
  readonly priority?: number;
}

export interface AppOptions {
  readonly entries?: readonly Entry[];
  /** More settings, by their top-level keys. */
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly deps?: Partial<AppDeps>;
}

/** A stream as `/status` shows it. */
export interface StatusStream {
  readonly kind: string;
  readonly unanswered_pushes: number;
  readonly waiting: readonly string[];
  readonly secrets: readonly {
    readonly name: string;
    readonly sent: string | null;
    readonly acknowledged: string | null;
    readonly refused: { readonly version: string; readonly text: string } | null;
    readonly spiffe_id: string | null;
    readonly serial: string | null;
    readonly not_after: string | null;
    readonly next_rotation: string | null;
  }[];
}

export interface Status {
  readonly policy: { readonly entries: number };
  readonly rotation: { readonly held_svids: number; readonly due_svids: number };
  readonly proxies: readonly {
    readonly pid: number;
    readonly node_id: string | null;
    readonly streams: readonly StatusStream[];
  }[];
}

/** The whole daemon in this process. */
export interface TestApp extends AsyncDisposable {
  readonly socketPath: string;
  readonly adminPath: string;
  readonly log: FakeLogger;
  setPolicy(entries: readonly Entry[]): Promise<void>;
  get(path: string): Promise<string>;
  status(): Promise<Status>;
  close(): Promise<void>;
}

/** Starts the daemon with keys in memory; an entry without selectors is for this user. */
export async function startApp(options: AppOptions = {}): Promise<TestApp> {
  const dir = await mkdtemp(join(tmpdir(), 'credence-app-'));
  const log = new FakeLogger();
  const own = [`unix:uid:${process.getuid?.() ?? 0}`];
  const setPolicy = async (entries: readonly Entry[]) => {
    const document = { entries: entries.map((entry) => ({ selectors: own, ...entry })) };
    // Written beside and renamed: the daemon never reads half a document.
    await writeFile(join(dir, 'policy.new'), stringify(document));
    await rename(join(dir, 'policy.new'), join(dir, 'policy.yaml'));
  };
  await setPolicy(options.entries ?? [{ spiffe_id: 'spiffe://example.org/web' }]);
  const text = stringify({
    trust_domain: 'example.org',
    node_name: 'node-1',
    socket_path: 'api.sock',
    admin_socket_path: 'admin.sock',
    data_dir: 'data',
    policy: { paths: ['policy.yaml'] },
    drain_deadline: '1s',
    telemetry: { metrics_address: '' },
    ...options.settings,
    issuer: {
      key_manager: { type: 'memory' },
      ...(options.settings?.['issuer'] as object | undefined),
    },
  });
  const config = parseConfig(text, join(dir, 'credence.yaml'), {});
  const deps = { clock: systemClock, random: systemRandom, log, ...options.deps };
  const app = await build(config, deps);
  let closing: Promise<void> | undefined;
  const close = () => (closing ??= app.close());
  const get = (path: string) => httpGet(join(dir, 'admin.sock'), path);
  return {
    socketPath: join(dir, 'api.sock'),
    adminPath: join(dir, 'admin.sock'),
    log,
    setPolicy,
    get,
    status: async () => JSON.parse(await get('/status')) as Status,
    close,
    async [Symbol.asyncDispose]() {
      await close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

function httpGet(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const req = request({ socketPath, path, agent: false }, (res) => {
      let body = '';
      res.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      res.once('end', () => resolve(body));
    });
    req.once('error', reject);
    req.end();
  });
}
