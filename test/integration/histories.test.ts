import { describe, it } from 'node:test';
import fc from 'fast-check';
import { IdentityError } from '../../src/core/errors.ts';
import { PROCESSES, World } from '../support/protocol-client-world.ts';
import type { Protocol } from '../support/protocol-client.ts';
import type { Grant } from '../support/protocol-client-serving.ts';

/** The same histories each time: a failure prints the seed and the path to the shortest one. */
const SEED = 20_261_124;
const RUNS = 100;

const IDENTITIES = ['a', 'b', 'c'].map((path) => `spiffe://example.org/${path}`);
const NAMES = ['default', 'ROOTCA', 'ALL', 'spiffe://example.org', 'sds://x', ...IDENTITIES];

/** One step of a history, and how it reads in the report of a failure. */
class Step implements fc.AsyncCommand<object, World> {
  readonly #text: string;
  readonly #act: (world: World) => void | Promise<void>;
  readonly #burst: boolean;

  /** `burst`: the next step follows before anything has arrived. */
  constructor(text: string, burst: boolean, act: (world: World) => void | Promise<void>) {
    this.#text = text;
    this.#burst = burst;
    this.#act = act;
  }

  check(): boolean {
    return true;
  }

  async run(_: object, world: World): Promise<void> {
    await this.#act(world);
    if (!this.#burst) await world.quiet();
  }

  toString(): string {
    return `${this.#text}${this.#burst ? ' and' : ';'}`;
  }
}

const anyProcess = fc.nat({ max: PROCESSES - 1 });
const MOST_WATCHES = 6;
const anyWatch = fc.nat({ max: MOST_WATCHES - 1 });
const anyNames = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...NAMES).map((name) => [name]) },
  { weight: 2, arbitrary: fc.subarray(NAMES, { minLength: 1, maxLength: 4 }) },
  { weight: 2, arbitrary: fc.subarray(['default', 'ROOTCA', ...IDENTITIES], { minLength: 2 }) },
);
const anyPolicy: fc.Arbitrary<readonly Grant[]> = fc.uniqueArray(
  fc.record({
    process: anyProcess,
    id: fc.constantFrom(...IDENTITIES),
    priority: fc.nat({ max: 1 }),
  }),
  { selector: ({ process, id }) => `${process} ${id}`, maxLength: 5 },
);

function step<T>(
  arbitrary: fc.Arbitrary<T>,
  name: string,
  act: (world: World, value: T) => void | Promise<void>,
): fc.Arbitrary<Step> {
  return fc
    .tuple(arbitrary, fc.boolean())
    .map(
      ([value, burst]) =>
        new Step(`${name} ${JSON.stringify(value)}`, burst, (world) => act(world, value)),
    );
}

/** A watch of those there are, if any. */
function nth(world: World, n: number) {
  return world.watches[n % Math.max(world.watches.length, 1)]?.watch;
}

const opening = fc.record({
  process: anyProcess,
  protocol: fc.constantFrom<Protocol>('sotw', 'delta', 'on-demand'),
  names: anyNames,
  everything: fc.integer({ min: 0, max: 4 }).map((n) => n === 0),
});
const change = fc.record({
  n: anyWatch,
  names: fc.oneof(anyNames, fc.constant([])),
  merge: fc.boolean(),
});
const failure = fc.option(fc.constant(new IdentityError('ERR_ISSUER', 'no signature today')), {
  nil: undefined,
});

const toggled = fc.record({
  process: anyProcess,
  id: fc.constantFrom(...IDENTITIES),
  priority: fc.constant(0),
});
const insistence = fc.record({ n: anyWatch, roots: fc.nat({ max: 2 }), slow: fc.boolean() });

/** A proxy refuses whatever is new for it, asks for it again and then takes it (the trap). */
async function insist(world: World, n: number, roots: number, slow: boolean): Promise<void> {
  const watch = nth(world, n);
  if (!watch) return;
  watch.store.refuseNext = true;
  watch.slow = slow;
  world.daemon.setMoreRoots(roots);
  await world.daemon.advance(35_000);
  watch.resubscribe();
  await world.quiet();
  watch.answer();
  watch.slow = false;
  await world.quiet();
  watch.resubscribe();
}

const steps = [
  step(anyPolicy, 'policy', (world, grants) => world.setPolicy(grants)),
  step(toggled, 'toggle', (world, grant) => world.toggle(grant)),
  step(toggled, 'toggle', (world, grant) => world.toggle(grant)),
  step(opening, 'watch', (world, { process, protocol, names, everything }) => {
    if (world.watches.length < MOST_WATCHES)
      world.watch(process, protocol, everything ? ['*'] : names);
  }),
  step(change, 'change', (world, { n, names, merge }) => {
    const watch = nth(world, n);
    // A state of the world for everything cannot become one for a name and be told from it.
    if (watch && !(watch.protocol === 'sotw' && watch.names.has('*'))) watch.change(names, merge);
  }),
  step(anyWatch, 'resubscribe', (world, n) => nth(world, n)?.resubscribe()),
  step(anyWatch, 'refuse next', (world, n) => {
    const watch = nth(world, n);
    if (watch) watch.store.refuseNext = true;
  }),
  step(insistence, 'insist', (world, { n, roots, slow }) => insist(world, n, roots, slow)),
  step(anyWatch, 'slow', (world, n) => {
    const watch = nth(world, n);
    if (watch) watch.slow = true;
  }),
  step(anyWatch, 'answer', (world, n) => nth(world, n)?.answer()),
  step(anyWatch, 'disconnect', (world, n) => nth(world, n)?.cancel()),
  step(anyWatch, 'reconnect', (world, n) => nth(world, n)?.open()),
  step(anyProcess, 'restart', (world, n) => world.restart(n)),
  step(fc.nat({ max: 2 }), 'roots', (world, n) => world.daemon.setMoreRoots(n)),
  step(failure, 'issuer', (world, fault) => void (world.daemon.fault = fault)),
  step(fc.integer({ min: 1, max: 45 }), 'seconds', (world, s) => world.daemon.advance(s * 1000)),
];

describe('random histories of proxies and policies', { timeout: 240_000 }, () => {
  it('leave each proxy with what the policy grants, and no message was for nothing', () =>
    fc.assert(
      fc.asyncProperty(fc.commands(steps, { maxCommands: 40, size: 'max' }), async (commands) => {
        await using world = await World.start();
        world.setPolicy([{ process: 0, id: IDENTITIES[0] ?? '', priority: 0 }]);
        world.watch(0, 'sotw', ['default']);
        world.watch(0, 'delta', ['default', 'ROOTCA', IDENTITIES[0] ?? '']);
        world.watch(1, 'delta', ['*']);
        await fc.asyncModelRun(() => ({ model: {}, real: world }), commands);
        await world.settleDown();
        await world.check();
      }),
      { seed: SEED, numRuns: RUNS, includeErrorInReport: true },
    ));
});
