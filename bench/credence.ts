import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { chmod, mkdtemp, rename, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { monotonicMs } from './client/fleet.ts';
import type { BenchCommand, BenchEvent } from './daemon.ts';
import type { Server } from './server.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DAEMON = join(ROOT, 'dist/credence.js');
const START_WITHIN_MS = 10_000;
const STOP_WITHIN_MS = 5000;

/** A folder with configuration and policy; the daemon's keys come to lie there too. */
export interface Home extends AsyncDisposable {
  readonly dir: string;
  readonly config: string;
  readonly socket: string;
  /** The policy's file. */
  readonly policy: string;
}

/** One identity for everything that a user runs. */
export interface Grant {
  readonly uid: number;
  readonly dnsNames?: readonly string[];
}

/** Writes a configuration that grants the user of this process one identity, or others theirs. */
export async function createHome(
  grants: readonly Grant[] = [{ uid: process.getuid?.() ?? 0 }],
  more: Readonly<Record<string, unknown>> = {},
): Promise<Home> {
  // A socket's path has at most 107 bytes; some systems' folder for temporary files is longer.
  const parent = tmpdir().length > 60 ? '/tmp' : tmpdir();
  const dir = await mkdtemp(join(parent, 'credence-bench-'));
  const remove = (): void => rmSync(dir, { recursive: true, force: true });
  process.on('exit', remove);
  const config = join(dir, 'credence.yaml');
  // JSON is YAML.
  const settings = {
    trust_domain: 'example.org',
    socket_path: 'api.sock',
    admin_socket_path: 'admin.sock',
    data_dir: 'data',
    policy: { paths: ['policy.yaml'] },
    telemetry: { metrics_address: '', log_format: 'json' },
    ...more,
  };
  const policy = join(dir, 'policy.yaml');
  await writeFile(config, JSON.stringify(settings));
  await writePolicy(policy, grants);
  // Others have to reach the socket; what is secret lies in a folder of its own.
  if (grants.some(({ uid }) => uid !== process.getuid?.())) await chmod(dir, 0o711);
  return {
    dir,
    config,
    policy,
    socket: join(dir, 'api.sock'),
    [Symbol.asyncDispose]() {
      process.off('exit', remove);
      remove();
      return Promise.resolve();
    },
  };
}

/** Puts a policy in the place of an earlier one; returns when it was renamed, monotonic ms. */
export async function writePolicy(path: string, grants: readonly Grant[]): Promise<number> {
  const entries = grants.map(({ uid, dnsNames }) => ({
    spiffe_id: `spiffe://example.org/bench/${uid}`,
    selectors: [`unix:uid:${uid}`],
    ...(dnsNames && { dns_names: dnsNames }),
  }));
  await writeFile(`${path}.new`, JSON.stringify({ entries }));
  const renamedMs = monotonicMs();
  await rename(`${path}.new`, path);
  return renamedMs;
}

/** Starts the built daemon and waits until its socket takes connections. */
export async function startCredence(home: Home): Promise<Server> {
  const log = openSync(join(home.dir, 'daemon.log'), 'a');
  const child = spawn(process.execPath, [DAEMON, 'run', '--config', home.config], {
    stdio: ['ignore', log, log],
    env: plainEnvironment(),
  });
  closeSync(log);
  const stop = stopper(child);
  try {
    await listening(child, home);
  } catch (cause) {
    await stop();
    throw cause;
  }
  return { path: home.socket, pid: child.pid, [Symbol.asyncDispose]: stop };
}

/**
 * Starts the same daemon inside a wrapper that can make it change its bundle and collect garbage
 * (`daemon.ts`), bundled in the same way as the real one.
 */
export async function startBenchDaemon(home: Home): Promise<Server> {
  const outdir = join(ROOT, '.cache/bench');
  await build({
    absWorkingDir: ROOT,
    entryPoints: { daemon: 'bench/daemon.ts' },
    outdir,
    bundle: true,
    splitting: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    external: ['koffi'],
    define: { CREDENCE_VERSION: '"bench"' },
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
    },
    logLevel: 'warning',
  });
  const log = openSync(join(home.dir, 'daemon.log'), 'a');
  const child = fork(join(outdir, 'daemon.js'), [home.config], {
    stdio: ['ignore', log, log, 'ipc'],
    env: plainEnvironment(),
    execArgv: [],
  });
  closeSync(log);
  const stop = stopper(child);
  const command = async (cmd: BenchCommand['cmd']) => {
    child.send({ cmd } satisfies BenchCommand);
    const [event] = (await once(child, 'message')) as [BenchEvent];
    if (event.event === 'failed') throw new Error(`the daemon said: ${event.message}`);
    return event.attestedMs;
  };
  try {
    await listening(child, home);
  } catch (cause) {
    await stop();
    throw cause;
  }
  return {
    path: home.socket,
    pid: child.pid,
    bumpBundle: async () => {
      await command('bump-bundle');
    },
    reissue: async () => {
      await command('reissue');
    },
    attested: () => command('attested'),
    collectGarbage: async () => {
      await command('gc');
    },
    [Symbol.asyncDispose]: stop,
  };
}

/** Settings come from the file alone. */
function plainEnvironment(): NodeJS.ProcessEnv {
  const keep = Object.entries(process.env).filter(([name]) => !name.startsWith('CREDENCE_'));
  return { ...Object.fromEntries(keep), NODE_OPTIONS: '' };
}

async function listening(child: ChildProcess, home: Home): Promise<void> {
  const deadline = performance.now() + START_WITHIN_MS;
  while (!(await connects(home.socket))) {
    const ended = child.exitCode ?? child.signalCode;
    if (ended !== null || performance.now() > deadline) {
      const said = readFileSync(join(home.dir, 'daemon.log'), 'utf8').slice(-2000);
      const what = ended === null ? 'is not reachable' : `ended with ${ended}`;
      throw new Error(`the daemon ${what}; it said:\n${said}`);
    }
    await sleep(1);
  }
}

function connects(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (result: boolean): void => {
      socket.destroy();
      resolve(result);
    };
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });
}

function stopper(child: ChildProcess): () => Promise<void> {
  const kill = (): void => void child.kill('SIGKILL');
  process.on('exit', kill);
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => {
      process.off('exit', kill);
      resolve();
    });
    child.once('error', () => resolve());
  });
  return async () => {
    child.kill('SIGTERM');
    const force = setTimeout(kill, STOP_WITHIN_MS);
    await exited;
    clearTimeout(force);
  };
}
