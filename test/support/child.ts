import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** How a child is started. */
export interface ChildOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Runs it as this user and group; needs root. */
  readonly uid?: number;
}

/** A process of the tests, with all it printed. */
export interface Child extends AsyncDisposable {
  readonly pid: number;
  /** All that came on stdout and stderr so far. */
  log(): string;
  /** Why it is not running any more, else undefined. */
  ended(): string | undefined;
  /** Sends the signal and waits until the process is gone; SIGKILL follows after 5 s. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

const living = new Set<ChildProcess>();

function killAll(): void {
  for (const child of living) child.kill('SIGKILL');
}

// A test that crashes or is interrupted leaves nothing behind.
process.once('exit', killAll);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    // Another listener ends this process in its own way, and the hook above follows.
    if (process.listenerCount(signal) > 0) return;
    killAll();
    process.kill(process.pid, signal);
  });
}

/** Starts a process; rejects when it cannot be started. */
export async function startChild(
  command: string,
  args: readonly string[],
  { cwd, env, uid }: ChildOptions = {},
): Promise<Child> {
  const child = spawn(command, args, {
    cwd,
    env,
    ...(uid === undefined ? {} : { uid, gid: uid }),
    stdio: ['ignore', 'pipe', 'pipe'],
    // Ctrl-C reaches this process alone, which ends its children in order.
    detached: true,
  });
  living.add(child);
  let text = '';
  let ended: string | undefined;
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  }
  const exit = new Promise<void>((resolve) => {
    child.once('exit', (code, signal) => {
      living.delete(child);
      ended = `ended with ${signal ?? `code ${code}`}`;
      resolve();
    });
  });
  await once(child, 'spawn').catch((cause: unknown) => {
    living.delete(child);
    throw new Error(`${command} could not be started`, { cause });
  });

  async function stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (ended !== undefined) return;
    child.kill(signal);
    const force = setTimeout(() => child.kill('SIGKILL'), 5_000);
    await exit;
    clearTimeout(force);
  }

  return {
    pid: child.pid ?? 0,
    log: () => text,
    ended: () => ended,
    stop,
    [Symbol.asyncDispose]: () => stop('SIGKILL'),
  };
}
