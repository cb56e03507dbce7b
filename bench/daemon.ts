// The daemon inside a process that the bench can ask for what no user can: a bundle that changes on
// demand, and garbage collection before memory is read. Everything else is the daemon as it ships.
//   argv: configuration file      IPC in: BenchCommand      IPC out: BenchEvent, one for each
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** What the bench asks. */
export interface BenchCommand {
  readonly cmd: 'bump-bundle' | 'gc';
}

/** What it is told, once for each command. */
export type BenchEvent =
  | { readonly event: 'done'; readonly cmd: BenchCommand['cmd'] }
  | { readonly event: 'failed'; readonly message: string };

/** The running daemon. */
interface BenchApp {
  /** Gives the own trust domain another root beside the real one, or takes it away again. */
  bumpBundle(): void;
}

/** Builds the daemon from a configuration file and lets it run until this process is ended. */
function startApp(configFile: string): Promise<BenchApp> {
  return Promise.reject(new Error(`no daemon can be built from ${configFile} yet`));
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const app = await startApp(process.argv[2] ?? '');
const COMMANDS: Readonly<Record<BenchCommand['cmd'], () => void>> = {
  'bump-bundle': () => app.bumpBundle(),
  gc: collectGarbage,
};

function answer(event: BenchEvent): void {
  process.send?.(event);
}

process.on('message', ({ cmd }: BenchCommand) => {
  try {
    COMMANDS[cmd]();
    answer({ event: 'done', cmd });
  } catch (thrown) {
    answer({ event: 'failed', message: thrown instanceof Error ? thrown.message : String(thrown) });
  }
});
process.on('disconnect', () => process.exit(0));
