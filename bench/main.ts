import { type Bench, FULL, type Part, QUICK } from './bench.ts';
import { createHome, type Grant, type Home, startBenchDaemon, startCredence } from './credence.ts';
import { FLOODS } from './client/flood.ts';
import { bundleChange } from './figures/bundle-change.ts';
import { delta } from './figures/delta.ts';
import { firstSecretIdle, firstSecretUnderLoad } from './figures/first-secret.ts';
import { flood, FLOOD_USERS } from './figures/flood.ts';
import { herd } from './figures/herd.ts';
import { idle, idleWithStreams } from './figures/idle.ts';
import { memoryPerStream } from './figures/memory.ts';
import { mint } from './figures/mint.ts';
import { IDENTITY_GRANTS, oneIdentity } from './figures/one-identity.ts';
import { pods } from './figures/pods.ts';
import { pushes } from './figures/push.ts';
import { reissue } from './figures/reissue.ts';
import { coldStart } from './figures/start.ts';
import { describeMachine } from './machine.ts';
import { parseOptions, USAGE } from './options.ts';
import { type Figure, table, writeResult } from './report.ts';
import type { Server } from './server.ts';

/** Runs the bench; returns the exit code: 0 measured, 1 something failed, 64 wrong usage. */
export async function main(argv: readonly string[]): Promise<number> {
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => process.exit(130));
  let bench: Bench;
  try {
    const options = parseOptions(argv);
    if (options.help) {
      console.log(USAGE);
      return 0;
    }
    bench = { options, effort: options.quick ? QUICK : FULL };
  } catch (thrown) {
    console.error(`bench: ${text(thrown)}\n\n${USAGE}`);
    return 64;
  }
  const takenAt = new Date().toISOString();
  const machine = describeMachine();
  console.error(
    `bench: ${machine.cpu}, ${machine.cores} cores, node ${machine.node}, commit ${machine.commit}`,
  );
  const figures: Figure[] = [];
  try {
    await (bench.options.socket ? other(bench, figures) : credence(bench, figures));
    if (figures.length === 0)
      throw new Error(`there was no figure "${bench.options.only ?? ''}" to take`);
    console.log(`\n${table(figures)}`);
    const path = await writeResult({ takenAt, machine, options: bench.options, figures });
    console.error(`\nbench: written to ${path}`);
    return 0;
  } catch (thrown) {
    if (figures.length > 0) console.log(`\n${table(figures)}`);
    console.error(`\nbench: FAILED, nothing is written: ${text(thrown)}`);
    return 1;
  }
}

/** Another server, running already: what can be told from outside. */
async function other(bench: Bench, into: Figure[]): Promise<void> {
  const { socket = '', pid } = bench.options;
  const server: Server = { ...NO_SERVER, path: socket, pid };
  const latency = [firstSecretIdle(bench, server), herd(bench, server)];
  await measure(
    wanted(
      bench,
      pid === undefined
        ? latency
        : [
            idle(bench, pid),
            memoryPerStream(bench, server, pid),
            ...latency,
            idleWithStreams(bench, server, pid),
          ],
    ),
    into,
  );
}

async function credence(bench: Bench, into: Figure[]): Promise<void> {
  const alone = wanted(bench, [mint(bench), coldStart(bench), pods(bench)]);
  await measure(
    alone.filter((part) => !leftOut(part)),
    into,
  );
  await withServer(startCredence, (server) => [
    idle(bench, server.pid ?? 0),
    firstSecretIdle(bench, server),
    herd(bench, server),
    idleWithStreams(bench, server, server.pid ?? 0),
  ]);
  await withServer(startBenchDaemon, (server) => [
    memoryPerStream(bench, server, server.pid ?? 0),
    firstSecretUnderLoad(bench, server, 250),
    firstSecretUnderLoad(bench, server, 0),
    pushes(bench, server, 1000),
    pushes(bench, server, 5000),
    delta(bench, server, server.pid ?? 0),
    bundleChange(bench, server),
    reissue(bench, server),
  ]);
  await withServer(
    startCredence,
    (server, home) => [oneIdentity(bench, server, home)],
    IDENTITY_GRANTS,
  );
  await withServer(
    startCredence,
    (server) => [
      ...FLOODS.map((kind) => flood(bench, server, kind, 'one process')),
      flood(bench, server, 'bursts of calls', 'new processes'),
      flood(bench, server, 'resets', 'new processes'),
    ],
    Object.values(FLOOD_USERS).map((uid) => ({ uid })),
  );

  async function withServer(
    start: typeof startCredence,
    parts: (server: Server, home: Home) => readonly Part[],
    grants?: readonly Grant[],
  ): Promise<void> {
    if (wanted(bench, parts(NO_SERVER, NO_HOME)).every(leftOut)) return;
    await using home = await createHome(grants);
    await using server = await start(home);
    await measure(wanted(bench, parts(server, home)), into);
  }
}

const NO_SERVER: Server = {
  path: '',
  pid: undefined,
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

const NO_HOME: Home = {
  dir: '',
  config: '',
  socket: '',
  policy: '',
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

/** Says so when a part cannot be taken by this user. */
function leftOut({ name, needsRoot = false }: Part): boolean {
  if (!needsRoot || process.getuid?.() === 0) return false;
  process.stderr.write(
    `  ${name}: left out, only root can run proxies as other users or in pods\n`,
  );
  return true;
}

function wanted({ options }: Bench, parts: readonly Part[]): readonly Part[] {
  const { only } = options;
  return only === undefined ? parts : parts.filter(({ name }) => name.includes(only));
}

/** Takes the figures one after another; nothing else runs beside them. */
async function measure(parts: readonly Part[], into: Figure[]): Promise<void> {
  for (const { name, run } of parts) {
    const start = performance.now();
    process.stderr.write(`  ${name} ...`);
    try {
      into.push(...(await run()));
    } catch (cause) {
      throw new Error(`${name}: ${text(cause)}`, { cause });
    }
    process.stderr.write(` ${((performance.now() - start) / 1000).toFixed(1)} s\n`);
  }
}

function text(thrown: unknown): string {
  // What failed first, and then what failed when it was cleaned up.
  if (thrown instanceof Error && 'suppressed' in thrown) {
    const { error, suppressed } = thrown as { error?: unknown; suppressed?: unknown };
    return `${text(suppressed)}; then ${text(error)}`;
  }
  return thrown instanceof Error ? thrown.message : String(thrown);
}
