import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { program } from '../../src/cli/program.ts';
import { systemClock } from '../../src/core/clock.ts';

/** What one run of the executable printed, and its exit code. */
export interface Ran {
  readonly out: string;
  readonly err: string;
  readonly code: number;
}

/** Runs the executable's code in this process. */
export async function credence(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>> = {},
): Promise<Ran> {
  let out = '';
  let err = '';
  const code = await program(argv, {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    isTTY: false,
    screen: undefined,
    env,
    // Whatever this machine has: what comes out is the same on each.
    exists: () => false,
    clock: systemClock,
    signal: new AbortController().signal,
  });
  return { out, err, code };
}

/**
 * Plays a transcript in a folder of its own and returns it as it came out, to be compared with how
 * it was written. Its lines:
 *
 *     == NAME        the lines up to the next command are the content of this file
 *     $ credence …   a command; VARIABLE=value may stand before its name
 *     text           what it wrote to stdout
 *     ! text         what it wrote to stderr
 *     [1]            its exit code, when that is not 0
 *     # text         a comment
 *
 * The folder's own path is written as DIR.
 */
export async function play(transcript: string): Promise<string> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'credence-transcript-')));
  const before = process.cwd();
  process.chdir(folder);
  try {
    const played: string[] = [];
    let file: { name: string; lines: string[] } | undefined;
    for (const line of transcript.split('\n')) {
      const name = /^== (\S+)$/.exec(line)?.[1];
      const command = /^\$ (.*)$/.exec(line)?.[1];
      if (name !== undefined || command !== undefined) {
        if (file) writeFile(join(folder, file.name), file.lines);
        file = name === undefined ? undefined : { name, lines: [] };
      }
      if (file) {
        if (name === undefined) file.lines.push(line);
        played.push(line);
      } else if (command !== undefined) {
        played.push(line, ...(await run(command, folder)));
      } else if (line === '' || line.startsWith('# ')) {
        played.push(line);
      }
    }
    return played.join('\n');
  } finally {
    process.chdir(before);
    rmSync(folder, { recursive: true });
  }
}

function writeFile(path: string, lines: readonly string[]): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, lines.join('\n'));
}

async function run(command: string, folder: string): Promise<string[]> {
  const words = command.split(' ').filter(Boolean);
  const start = words.indexOf('credence');
  if (start < 0) throw new Error(`no credence in "${command}"`);
  const env = Object.fromEntries(
    words.slice(0, start).map((word) => [word.split('=')[0] ?? '', word.split('=')[1]]),
  );
  const { out, err, code } = await credence(words.slice(start + 1), env);
  const lines = (text: string, prefix: string) =>
    text === ''
      ? []
      : text
          .replace(/\n$/, '')
          .replaceAll(folder, 'DIR')
          .split('\n')
          // An empty line would end what belongs to the command.
          .map((line) => (line === '' ? `${prefix}.` : `${prefix}${line}`));
  return [...lines(out, ''), ...lines(err, '! '), ...(code === 0 ? [] : [`[${code}]`])];
}
