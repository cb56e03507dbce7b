// The daemon inside a process that the bench can ask for what no user can: a bundle that changes on
// demand, when processes were attested, and garbage collection before memory is read. Everything else is the daemon as it ships.
//   argv: configuration file      IPC in: BenchCommand      IPC out: BenchEvent, one for each
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { build } from '../src/app.ts';
import { ATTESTED } from '../src/attestation/callers.ts';
import { type Config, loadConfig } from '../src/config.ts';
import { systemClock } from '../src/core/clock.ts';
import { createLogger, type Logger } from '../src/core/log.ts';
import { systemRandom } from '../src/core/random.ts';
import type { TrustBundle } from '../src/identity/bundle.ts';
import { openIssuer, type Issuer } from '../src/issuer/issuer.ts';
import type { OwnBundle } from '../src/signing.ts';

/** What the bench asks. */
export interface BenchCommand {
  readonly cmd: 'bump-bundle' | 'reissue' | 'attested' | 'gc';
}

/** What it is told, once for each command. */
export type BenchEvent =
  /** `attestedMs`: of each process that was since the last command, monotonic. */
  | {
      readonly event: 'done';
      readonly cmd: BenchCommand['cmd'];
      readonly attestedMs: readonly number[];
    }
  | { readonly event: 'failed'; readonly message: string };

const config = loadConfig(process.argv[2] ?? '');
const attestedMs: number[] = [];
const deps = {
  clock: systemClock,
  random: systemRandom,
  log: heard(
    createLogger({
      level: config.telemetry.logLevel,
      write: (line) => void process.stderr.write(line),
    }),
  ),
};
const changing = changingBundle(await secondRoot(config));
const tainting = taintingIssuer();
const app = await build(config, {
  ...deps,
  decorateBundle: changing.decorate,
  decorateIssuer: tainting.decorate,
});

setFlagsFromString('--expose-gc');
// As the daemon does once it has started.
void app.warmUp().catch(() => undefined);
const COMMANDS: Readonly<Record<BenchCommand['cmd'], () => void>> = {
  'bump-bundle': changing.bump,
  reissue: tainting.taint,
  attested: () => undefined,
  gc: runInNewContext('gc') as () => void,
};

process.on('message', ({ cmd }: BenchCommand) => {
  try {
    COMMANDS[cmd]();
    answer({ event: 'done', cmd, attestedMs: attestedMs.splice(0) });
  } catch (thrown) {
    answer({ event: 'failed', message: thrown instanceof Error ? thrown.message : String(thrown) });
  }
});
for (const end of ['disconnect', 'SIGTERM'] as const) {
  process.on(end, () => void app.close().finally(() => process.exit(0)));
}

function answer(event: BenchEvent): void {
  process.send?.(event);
}

/** Notes when it is said that a process was attested, whether or not anybody reads such lines. */
function heard(log: Logger): Logger {
  return {
    debug(fields, message) {
      if (message === ATTESTED) attestedMs.push(Number(process.hrtime.bigint()) / 1e6);
      log.debug(fields, message);
    },
    info: (fields, message) => log.info(fields, message),
    warn: (fields, message) => log.warn(fields, message),
    error: (fields, message) => log.error(fields, message),
    child: (fields) => heard(log.child(fields)),
  };
}

/** The bundle of another CA for the same trust domain, which has signed nothing. */
async function secondRoot({ issuer, trustDomain }: Config): Promise<TrustBundle> {
  const other = await openIssuer(
    { ...issuer, trustDomain, dataDir: '', keyManager: 'memory' },
    deps,
  );
  try {
    return other.bundle();
  } finally {
    other.close();
  }
}

/** An issuer whose CA can be said to be tainted as often as anybody likes, and signs on. */
function taintingIssuer() {
  const listeners = new Set<(authorityIds: readonly string[]) => void>();
  const signers = new Set<string>();
  return {
    decorate: (issuer: Issuer): Issuer => ({
      ...issuer,
      async mint(request, options) {
        const svid = await issuer.mint(request, options);
        signers.add(svid.authorityId);
        return svid;
      },
      onTainted(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    }),
    taint: (): void => {
      for (const listener of listeners) listener([...signers]);
    },
  };
}

/** The bundle with the roots of `second` in it, or without: each bump is a change. */
function changingBundle(second: TrustBundle) {
  const listeners = new Set<() => void>();
  let bumps = 0;
  return {
    decorate: (bundle: OwnBundle): OwnBundle => {
      // One object for each content, as from the issuer: what is encoded is found by it.
      let made: TrustBundle | undefined;
      return {
        current() {
          const own = bundle.current();
          if (!own) return undefined;
          if (made?.sequence === own.sequence + bumps) return made;
          const more = bumps % 2 === 0 ? [] : second.x509Authorities;
          made = {
            ...own,
            sequence: own.sequence + bumps,
            x509Authorities: [...own.x509Authorities, ...more],
          };
          return made;
        },
        onChange(listener) {
          listeners.add(listener);
          const stop = bundle.onChange(listener);
          return () => {
            listeners.delete(listener);
            stop();
          };
        },
      };
    },
    bump: (): void => {
      bumps++;
      for (const listener of listeners) listener();
    },
  };
}
