import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import type { Status } from './app.ts';
import { startChild, type Child } from './child.ts';
import { eventually } from './eventually.ts';

/** The build under test; CREDENCE_BIN names another one, such as an installed package. */
const CREDENCE =
  process.env['CREDENCE_BIN'] ?? fileURLToPath(new URL('../../dist/credence.js', import.meta.url));

/** A policy entry as it stands in a document. */
export interface PolicyEntry {
  readonly spiffe_id: string;
  readonly selectors: readonly string[];
  readonly priority?: number;
}

export interface DaemonOptions {
  /** Lifetime of SVIDs, as in the configuration. */
  readonly svidTtl?: string;
  readonly entries: readonly PolicyEntry[];
  /** More settings, by their top-level keys. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Keeps everything here instead of in a folder of its own that goes away. */
  readonly dir?: string;
}

/** An SVID as `credence fetch x509 --write` left it. */
export interface FetchedSvid {
  readonly cert: string;
  readonly key: string;
  readonly bundle: string;
}

/** The built daemon with a folder of its own; `start` it, kill it, start it again. */
export interface Daemon extends AsyncDisposable {
  readonly socketPath: string;
  /** Starts the process and waits until it is ready. */
  start(): Promise<void>;
  /** Ends the process as `signal` does; SIGTERM unless told. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Runs a command of the same build that asks this daemon; rejects unless it ends with 0. */
  command(...args: readonly string[]): Promise<string>;
  /** GET on the admin socket; rejects unless it is a 200. */
  admin(path: string): Promise<string>;
  /** What `/status` says. */
  status(): Promise<Status>;
  /** Bytes of it in RAM, told by the kernel: it is not woken for that. */
  resident(): number;
  /** Sum of a metric over its labels that match. */
  metric(name: string, labels?: RegExp): Promise<number>;
  /** Replaces the policy; the daemon reloads by itself. */
  setPolicy(entries: readonly PolicyEntry[]): Promise<void>;
  /** What this process may have: one SVID for each of its identities, in order. */
  fetchX509(): Promise<readonly FetchedSvid[]>;
  log(): string;
  /** Why it is not running although it was started and not stopped, else undefined. */
  died(): string | undefined;
}

/** Entry for everything this user runs. */
export function entryForMe(spiffeId: string): PolicyEntry {
  return entryForUid(spiffeId, process.getuid?.() ?? 0);
}

/** Entry for everything a user runs. */
export function entryForUid(spiffeId: string, uid: number): PolicyEntry {
  return { spiffe_id: spiffeId, selectors: [`unix:uid:${uid}`] };
}

/**
 * Writes a configuration; nothing runs before `start`. With CREDENCE_TEST_LOGS set to a folder the
 * daemon's log stays there.
 */
export async function createDaemon(options: DaemonOptions): Promise<Daemon> {
  if (!existsSync(CREDENCE)) throw new Error(`${CREDENCE} is missing: run npm run build`);
  const dir = options.dir ?? (await mkdtemp(join(shortTmp(), 'credence-')));
  // Proxies of other users pass through it to the socket.
  await chmod(dir, 0o755);
  const socketPath = join(dir, 'api.sock');
  const adminPath = join(dir, 'admin.sock');
  const config = join(dir, 'credence.yaml');
  await writeFile(
    config,
    stringify({
      trust_domain: 'example.org',
      socket_path: 'api.sock',
      admin_socket_path: 'admin.sock',
      data_dir: 'data',
      policy: { paths: ['policy.yaml'] },
      issuer: { x509_svid_ttl: options.svidTtl ?? '1h' },
      telemetry: { metrics_address: '', log_format: 'json', log_level: 'debug' },
      ...options.settings,
    }),
  );
  let child: Child | undefined;
  let past = '';
  let fetches = 0;

  async function setPolicy(entries: readonly PolicyEntry[]): Promise<void> {
    // Written beside and renamed: the daemon never reads half a document.
    await writeFile(join(dir, 'policy.new'), stringify({ entries }));
    await rename(join(dir, 'policy.new'), join(dir, 'policy.yaml'));
  }
  await setPolicy(options.entries);

  async function start(): Promise<void> {
    if (child) throw new Error('the daemon is already running');
    const started = await startChild(process.execPath, [CREDENCE, 'run', '--config', config]);
    child = started;
    try {
      await eventually(() => adminGet(adminPath, '/ready'), {
        what: 'credence becomes ready',
        hopeless: () => started.ended(),
      });
    } catch (cause) {
      await stop('SIGKILL');
      throw new Error(`credence did not start, it says:\n${started.log()}`, { cause });
    }
  }
  async function stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const stopping = child;
    child = undefined;
    await stopping?.stop(signal);
    past += stopping?.log() ?? '';
  }

  return {
    socketPath,
    start,
    stop,
    setPolicy,
    fetchX509: () => fetchX509(socketPath, join(dir, `fetched-${fetches++}`)),
    command: (...args) => runCommand([...args, '--admin-socket', adminPath]),
    admin: (path) => adminGet(adminPath, path),
    status: async () => JSON.parse(await adminGet(adminPath, '/status')) as Status,
    metric: async (name, labels) =>
      sumOfMetric(await adminGet(adminPath, '/metrics'), name, labels),
    resident: () => residentBytes(child?.pid ?? 0),
    log: () => past + (child?.log() ?? ''),
    died: () => {
      const ended = child?.ended();
      return ended && `credence ${ended}, it says:\n${child?.log().slice(-4000)}`;
    },
    [Symbol.asyncDispose]: async () => {
      await stop('SIGKILL');
      const keep = process.env['CREDENCE_TEST_LOGS'];
      if (keep) await writeFile(join(keep, `${basename(dir)}.log`), past);
      if (options.dir === undefined) await rm(dir, { recursive: true, force: true });
    },
  };
}

/** The SVIDs of this process by `credence fetch x509`; the folder `out` is made for them. */
export async function fetchX509(socketPath: string, out: string): Promise<readonly FetchedSvid[]> {
  await runCommand(['fetch', 'x509', '--socket', socketPath, '--write', out]);
  const svids: FetchedSvid[] = [];
  const read = (name: string) => readFile(join(out, name), 'utf8');
  for (let n = 0; existsSync(join(out, `svid.${n}.pem`)); n++) {
    const [cert, key, bundle] = [`svid.${n}.pem`, `svid.${n}.key`, `bundle.${n}.pem`];
    svids.push({ cert: await read(cert), key: await read(key), bundle: await read(bundle) });
  }
  return svids;
}

/** What a command of the build says on both streams. */
async function runCommand(args: readonly string[]): Promise<string> {
  const running = await startChild(process.execPath, [CREDENCE, ...args]);
  const what = `credence ${args.join(' ')}`;
  await eventually(() => running.ended(), { what: `${what} ends` });
  if (running.ended() !== 'ended with code 0') {
    throw new Error(`${what} ${running.ended()}:\n${running.log()}`);
  }
  return running.log();
}

/** A folder for temporary files short enough for a socket path (107 bytes at most). */
function shortTmp(): string {
  return tmpdir().length <= 60 ? tmpdir() : '/tmp';
}

function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  if (kilobytes === undefined) throw new Error(`process ${pid} has no resident memory`);
  return Number(kilobytes) * 1024;
}

function adminGet(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const req = request({ socketPath, path, agent: false, timeout: 5_000 }, (res) => {
      let body = '';
      res.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      res.once('error', reject);
      res.once('end', () => {
        if (res.statusCode === 200) resolve(body);
        else reject(new Error(`${path} answered ${res.statusCode}: ${body}`));
      });
    });
    req.once('timeout', () => req.destroy(new Error('no answer from the admin socket')));
    req.once('error', reject);
    req.end();
  });
}

function sumOfMetric(text: string, name: string, labels = /./): number {
  return text
    .split('\n')
    .map((line) => /^([a-z_]+)(\{.*\})? ([0-9.e+-]+)$/.exec(line))
    .filter((m) => m !== null && m[1] === name && (m[2] === undefined || labels.test(m[2])))
    .reduce((sum, match) => sum + Number(match?.[3]), 0);
}
