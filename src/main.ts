import { existsSync } from 'node:fs';
import type { Screen } from './cli/command.ts';
import { program } from './cli/program.ts';
import { systemClock } from './core/clock.ts';

// The daemon keeps one thread of libuv's pool waiting for exits: the work of others must not wait for
// that. Read by libuv at the pool's first use.
const threads = Math.max(Number(process.env['UV_THREADPOOL_SIZE']) || 4, 1);
process.env['UV_THREADPOOL_SIZE'] = String(threads + 1);

const stop = new AbortController();
/** A terminal signals the whole group and npm passes the same signal on: one Ctrl-C arrives twice. */
const SAME_REQUEST_MS = 1000;
let askedAt: number | undefined;
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    const now = systemClock.monotonic();
    askedAt ??= now;
    // Asked again, it is meant.
    if (now - askedAt > SAME_REQUEST_MS) process.exit(1);
    stop.abort();
  });
}
/** The alternate screen, which has no scrollback: what stands on the other one is the user's. */
const ENTER_SCREEN = '\x1b[?1049h\x1b[?25l';
const LEAVE_SCREEN = '\x1b[?25h\x1b[?1049l';
const CLEAR = '\x1b[H\x1b[J';
let isDrawing = false;
const screen: Screen = {
  size: () => ({ rows: process.stdout.rows || 24, columns: process.stdout.columns || 80 }),
  draw(text) {
    const enter = isDrawing ? '' : ENTER_SCREEN;
    // Also when a second Ctrl-C ends the process at once.
    if (!isDrawing) process.once('exit', () => screen.restore());
    isDrawing = true;
    // In one write: nothing flickers.
    process.stdout.write(`${enter}${CLEAR}${text}`);
  },
  restore() {
    if (isDrawing) process.stdout.write(LEAVE_SCREEN);
    isDrawing = false;
  },
};
const argv = process.argv.slice(2);
// A reader that goes away, as in `credence status | head`, is no failure of ours. The daemon outlives
// whoever reads its log, too.
process.stderr.on('error', () => undefined);
process.stdout.on('error', () => {
  if (argv[0] !== 'run') process.exit(0);
});

// One line instead of Node's three; a warning is no reason to end.
process.removeAllListeners('warning');
process.on('warning', ({ name, message }) => {
  // How garbage is collected in small steps; what is used of it is tested on each Node supported.
  if (name === 'ExperimentalWarning' && message.includes('measureMemory')) return;
  process.stderr.write(`credence: ${name}: ${message.replaceAll(/\s+/g, ' ')}\n`);
});

void program(argv, {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  isTTY: process.stderr.isTTY,
  screen: process.stdout.isTTY ? screen : undefined,
  env: process.env,
  exists: existsSync,
  clock: systemClock,
  signal: stop.signal,
}).then((exitCode) => {
  process.exitCode = exitCode;
  // Nothing should be left running now; what is, must not keep a stopped daemon from ending.
  systemClock.after(1000, () => process.exit());
});
