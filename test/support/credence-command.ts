import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** The executable as it ships. */
export const CREDENCE = fileURLToPath(new URL('../../dist/credence.js', import.meta.url));

/** What a command printed, and how it ended. */
export interface Ended {
  /** Exit code, or the signal that ended it. */
  readonly code: number | NodeJS.Signals;
  readonly out: string;
  readonly err: string;
}

export interface CommandOptions {
  readonly cwd?: string;
  /** Added to an environment of nothing but PATH. */
  readonly env?: Readonly<Record<string, string>>;
  /** Runs it as this user and group; needs root. */
  readonly uid?: number;
  /** Another installation than the one in `dist/`. */
  readonly executable?: string;
}

/** A command that should have ended by itself after this is killed and fails. */
const TIMEOUT_MS = 30_000;

/** Runs the built executable until it ends. */
export async function runCredence(
  args: readonly string[],
  { cwd, env, uid, executable = CREDENCE }: CommandOptions = {},
): Promise<Ended> {
  const child = spawn(process.execPath, [executable, ...args], {
    cwd,
    env: { PATH: process.env['PATH'], ...env },
    ...(uid === undefined ? {} : { uid, gid: uid }),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (out += part));
  child.stderr.setEncoding('utf8').on('data', (part: string) => (err += part));
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { code: code ?? signal ?? 'SIGKILL', out, err };
}
