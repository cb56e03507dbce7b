import { program } from './cli/program.ts';
import { systemClock } from './core/clock.ts';

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
/** Cursor hidden and home, the screen emptied; what scrolled out of it is the user's. */
const CLEAR_SCREEN = '\x1b[?25l\x1b[H\x1b[J';
const SHOW_CURSOR = '\x1b[?25h';
const screen = {
  clear() {
    // Also when a second Ctrl-C ends the process at once.
    process.once('exit', screen.restore);
    screen.clear = () => void process.stdout.write(CLEAR_SCREEN);
    screen.clear();
  },
  restore: () => void process.stdout.write(SHOW_CURSOR),
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
  process.stderr.write(`credence: ${name}: ${message.replaceAll(/\s+/g, ' ')}\n`);
});

void program(argv, {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  isTTY: process.stderr.isTTY,
  screen: process.stdout.isTTY ? screen : undefined,
  env: process.env,
  clock: systemClock,
  signal: stop.signal,
}).then((exitCode) => {
  process.exitCode = exitCode;
  // Nothing should be left running now; what is, must not keep a stopped daemon from ending.
  systemClock.after(1000, () => process.exit());
});
