import { program } from './cli/program.ts';
import { systemClock } from './core/clock.ts';

const stop = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    // Asked twice, it is meant.
    if (stop.signal.aborted) process.exit(1);
    stop.abort();
  });
}
// A reader that goes away, as in `credence status | head`, is no failure of ours.
process.stdout.on('error', () => process.exit(0));

process.exitCode = await program(process.argv.slice(2), {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  isTTY: process.stderr.isTTY,
  env: process.env,
  clock: systemClock,
  signal: stop.signal,
});
// Nothing should be left running now; what is, must not keep a stopped daemon from ending.
systemClock.after(1000, () => process.exit());
