import { chmod, copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Bootstrap } from './bootstrap-file.ts';
import { startChild } from './child.ts';
import { envoyBinary, type EnvoyVersion } from './envoy-binary.ts';
import { eventually } from './eventually.ts';
import { httpGet } from './http-client.ts';

/** One certificate as Envoy itself reports it. */
export interface EnvoyCertificate {
  readonly serial: string;
  readonly uris: readonly string[];
  readonly expiresMs: number;
}

/** A TLS context as Envoy's `/certs` reports it. */
export interface EnvoyTlsContext {
  readonly chain: readonly EnvoyCertificate[];
  readonly roots: readonly EnvoyCertificate[];
}

export interface EnvoyOptions {
  readonly bootstrap: Bootstrap;
  readonly version?: EnvoyVersion;
  /** Runs it as this user; needs root. */
  readonly uid?: number;
  /** Shown in messages. */
  readonly name?: string;
  /** Levels of single loggers, such as `config:trace`; all others say `info`. */
  readonly logLevels?: string;
  /** Takes part in a hot restart; left out, it shares nothing with any other Envoy. */
  readonly hotRestart?: HotRestart;
}

/** One generation of an Envoy that is replaced while it runs. */
export interface HotRestart {
  /** 0 is the first; each further one takes over from the one before it. */
  readonly epoch: number;
  /** Where the first writes down the identifier that all of them share. */
  readonly baseIdFile: string;
  /** Seconds until the generation before this one is ended. */
  readonly parentShutdownS: number;
}

/** A running Envoy, seen through its own admin interface. */
export interface Envoy extends AsyncDisposable {
  readonly pid: number;
  /** Body of an admin page; rejects unless it is a 200. */
  admin(path: string): Promise<string>;
  /** The state `/ready` names: LIVE, INITIALIZING, PRE_INITIALIZING. */
  state(): Promise<string>;
  waitLive(timeoutMs?: number): Promise<void>;
  /** Every TLS context in use. */
  certs(): Promise<readonly EnvoyTlsContext[]>;
  /** The leaf in use that carries this URI; undefined when there is none. */
  leaf(uri: string): Promise<EnvoyCertificate | undefined>;
  /** A counter or gauge by its full name; 0 when Envoy does not have it yet. */
  stat(name: string): Promise<number>;
  /** All counters and gauges whose name matches. */
  stats(filter: RegExp): Promise<ReadonlyMap<string, number>>;
  log(): string;
  /** Why it is not running any more, else undefined. */
  ended(): string | undefined;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Starts Envoy on a bootstrap; it ends, and its files go, with `await using`. */
export async function startEnvoy(options: EnvoyOptions): Promise<Envoy> {
  const { bootstrap, version = '1.40', uid, name = 'envoy', logLevels, hotRestart } = options;
  const dir = await mkdtemp(join(tmpdir(), 'credence-envoy-'));
  const file = join(dir, 'bootstrap.json');
  await writeFile(file, JSON.stringify(bootstrap));
  await chmod(dir, 0o755);
  let binary = await envoyBinary(version);
  if (uid !== undefined) {
    // Another user may not be able to reach the cache of the clone.
    await copyFile(binary, join(dir, 'envoy'));
    binary = join(dir, 'envoy');
  }
  const child = await startChild(
    binary,
    [
      ...['--config-path', file, '--concurrency', '1', '--log-level', 'info'],
      ...(logLevels === undefined ? [] : ['--component-log-level', logLevels]),
      // Without shared memory any number of Envoys run beside each other.
      ...(hotRestart ? await hotRestartArguments(hotRestart) : ['--disable-hot-restart']),
      ...['--file-flush-interval-msec', '100'],
    ],
    uid === undefined ? { cwd: dir } : { cwd: dir, uid },
  );
  const port = adminPort(bootstrap);

  async function admin(path: string): Promise<string> {
    const { status, body } = await httpGet(port, {}, path);
    if (status !== 200) throw new Error(`${name}: ${path} answered ${status}`);
    return body;
  }
  async function state(): Promise<string> {
    return (await httpGet(port, {}, '/ready')).body.trim();
  }
  async function certs(): Promise<readonly EnvoyTlsContext[]> {
    return parseCerts(await admin('/certs'));
  }
  async function stats(filter: RegExp): Promise<ReadonlyMap<string, number>> {
    return new Map(
      (await admin('/stats'))
        .split('\n')
        .map((line) => /^(.*): (\d+)$/.exec(line))
        .filter((match) => match !== null && filter.test(match[1] ?? ''))
        .map((match) => [match?.[1] ?? '', Number(match?.[2])] as const),
    );
  }
  async function stop(signal?: NodeJS.Signals): Promise<void> {
    await child.stop(signal);
    await rm(dir, { recursive: true, force: true });
    if (hotRestart?.epoch === 0) await forgetSharedMemory(hotRestart);
  }

  const envoy: Envoy = {
    pid: child.pid,
    admin,
    state,
    certs,
    stats,
    stop,
    log: () => child.log(),
    ended: () => child.ended(),
    waitLive: (timeoutMs = 15_000) =>
      eventually(async () => (await state()) === 'LIVE', {
        what: `${name} becomes live`,
        timeoutMs,
        hopeless: () => child.ended(),
      }).then(
        () => undefined,
        (error: unknown) => {
          throw new Error(`${name} is not live, it says:\n${tail(child.log())}`, { cause: error });
        },
      ),
    leaf: async (uri) =>
      (await certs()).flatMap(({ chain }) => chain).find(({ uris }) => uris.includes(uri)),
    stat: async (wanted) => (await stats(/./)).get(wanted) ?? 0,
    [Symbol.asyncDispose]: () => stop('SIGKILL'),
  };
  // Until the new generation has the admin port, the one before it answers there.
  const generation = `"restart_epoch": ${hotRestart?.epoch ?? 0}`;
  const answers = async () =>
    hotRestart ? (await admin('/server_info')).includes(generation) : (await state()) !== '';
  try {
    await eventually(answers, {
      what: `${name} answers on its admin port ${port}`,
      hopeless: () => child.ended(),
    });
    return envoy;
  } catch (cause) {
    await stop('SIGKILL');
    throw new Error(`${name} did not start, it says:\n${tail(child.log())}`, { cause });
  }
}

async function hotRestartArguments(options: HotRestart): Promise<readonly string[]> {
  const { epoch, baseIdFile, parentShutdownS } = options;
  if (epoch === 0) return ['--use-dynamic-base-id', '--base-id-path', baseIdFile];
  return [
    ...['--base-id', (await readFile(baseIdFile, 'utf8')).trim(), '--restart-epoch', `${epoch}`],
    ...['--drain-time-s', '1', '--parent-shutdown-time-s', `${parentShutdownS}`],
  ];
}

/** Envoy leaves its shared memory behind; a newer generation that still uses it has it open. */
async function forgetSharedMemory({ baseIdFile }: HotRestart): Promise<void> {
  const baseId = Number(await readFile(baseIdFile, 'utf8').catch(() => NaN));
  if (Number.isNaN(baseId)) return;
  await rm(`/dev/shm/envoy_shared_memory_${baseId * 10}`, { force: true });
}

function adminPort(bootstrap: Bootstrap): number {
  const { admin } = bootstrap as unknown as {
    admin: { address: { socket_address: { port_value: number } } };
  };
  return admin.address.socket_address.port_value;
}

interface RawCertificate {
  readonly serial_number?: string;
  readonly subject_alt_names?: readonly { readonly uri?: string }[];
  readonly expiration_time?: string;
}

function parseCerts(text: string): readonly EnvoyTlsContext[] {
  const { certificates = [] } = JSON.parse(text) as {
    certificates?: readonly {
      readonly ca_cert?: readonly RawCertificate[];
      readonly cert_chain?: readonly RawCertificate[];
    }[];
  };
  const certificate = (raw: RawCertificate): EnvoyCertificate => ({
    serial: raw.serial_number ?? '',
    uris: (raw.subject_alt_names ?? []).flatMap(({ uri }) => (uri === undefined ? [] : [uri])),
    expiresMs: Date.parse(raw.expiration_time ?? ''),
  });
  return certificates.map(({ ca_cert = [], cert_chain = [] }) => ({
    chain: cert_chain.map(certificate),
    roots: ca_cert.map(certificate),
  }));
}

function tail(text: string): string {
  return text.split('\n').slice(-25).join('\n');
}
