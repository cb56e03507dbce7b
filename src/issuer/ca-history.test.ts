import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { FakeDisk, FakeReaders, FakeUpstream, makeRoot } from '../../test/support/authorities.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { seededRandom } from '../../test/support/fake-random.ts';
import { DAY_MS, FakeLogger, HOUR_MS, issuerConfig } from '../../test/support/issuer.ts';
import { IdentityError } from '../core/errors.ts';
import type { TrustBundle } from '../identity/bundle.ts';
import { continueAuthorities } from './authority-source.ts';
import type { CaSource } from './ca-source.ts';
import { fingerprint, nameOfCa, rootOf } from './ca-state.ts';

const MINUTE_MS = 60_000;
const START_MS = Date.UTC(2030, 0, 1);

type Event =
  | { readonly kind: 'pass'; readonly minutes: number }
  | { readonly kind: 'sign'; readonly ttlMinutes: number }
  /** The clock is an hour wrong for a while. */
  | { readonly kind: 'jump'; readonly hours: 1 | -1; readonly minutes: number }
  | { readonly kind: 'away' | 'full' | 'slow'; readonly minutes: number }
  | { readonly kind: 'crash'; readonly atEffect: number }
  | { readonly kind: 'restart' }
  | { readonly kind: 'taint' | 'revoke'; readonly level: 'root' | 'issuing' }
  | { readonly kind: 'prepare' | 'activate'; readonly level: 'root' | 'issuing' }
  | { readonly kind: 'tell' };

interface Signed {
  readonly caName: string;
  readonly keyId: string;
  readonly caEndMs: number;
  readonly root: string;
  readonly notAfterMs: number;
}

/** A node and everything around it, and what has to hold of it at every moment. */
class World {
  readonly clock = new FakeClock(START_MS);
  readonly disk = new FakeDisk();
  readonly log = new FakeLogger();
  readonly readers = new FakeReaders();
  readonly upstream: FakeUpstream | undefined;
  readonly signed: Signed[] = [];
  readonly #seed: string;
  #source: CaSource | undefined;
  #bundle: TrustBundle | undefined;
  #acknowledged = new Set<string>();
  #faultUntilMs = 0;
  #isSlow = false;
  #starts = 0;
  #read: string | undefined;
  /** How long nobody looks, at most. */
  stepMs = 10 * MINUTE_MS;

  constructor(upstream: FakeUpstream | undefined, clock: FakeClock, seed: string) {
    this.clock = clock;
    this.upstream = upstream;
    this.#seed = seed;
  }

  get source(): CaSource {
    assert.ok(this.#source);
    return this.#source;
  }

  async start(dieAt?: number): Promise<boolean> {
    this.#source?.close();
    this.#source = undefined;
    const deps = {
      clock: this.clock,
      log: this.log,
      random: seededRandom(`${this.#seed}${this.#starts++}`),
    };
    const abort = new AbortController();
    const store = this.disk.process(dieAt);
    const config = {
      ...issuerConfig(),
      caTtlMs: DAY_MS,
      rootTtlMs: 20 * DAY_MS,
      newRootDelayMs: 2 * MINUTE_MS,
    };
    const more = { upstream: this.upstream, readers: this.readers, signal: abort.signal };
    const opening = continueAuthorities(store, config, { ...deps, ...more });
    opening.catch(() => undefined);
    let done: boolean | undefined;
    for (let n = 0; n < 900 && !this.disk.isDead; n++) {
      done = await Promise.race([
        opening.then(
          () => true,
          () => true,
        ),
        idle(this),
      ]);
      if (done) break;
      await this.clock.advance(1000);
    }
    assert.ok(done ?? this.disk.isDead, 'a start has no end');
    if (this.disk.isDead) abort.abort();
    try {
      this.#source = await opening;
    } catch (thrown) {
      if (this.disk.isDead) return false;
      throw thrown;
    }
    this.#source.onBundleChange(() => this.#heed());
    this.#heed();
    return true;
  }

  /** From a crash on nothing happens in that process any more. */
  async recover(): Promise<void> {
    if (this.disk.isDead || !this.#source) {
      this.disk.full = undefined;
      assert.ok(await this.start());
    }
  }

  #heed(): void {
    if (this.disk.isDead) return;
    this.readers.become(3);
    if (!this.#isSlow) this.#acknowledge();
  }

  #acknowledge(): void {
    this.#acknowledged = new Set(rootsOf(this.source.bundle()));
    this.readers.become(0);
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0;) {
      const step = Math.min(left, this.stepMs);
      this.clock.spend(step);
      await this.clock.advance(0);
      await idle(this);
      left -= step;
      await this.recover();
      this.check();
    }
  }

  sign(ttlMs: number): void {
    const ca = this.source.current();
    if (!ca) return;
    let allowedMs: number;
    try {
      allowedMs = this.source.asked(ttlMs);
    } catch {
      return;
    }
    if (this.disk.isDead) return;
    const nowMs = this.clock.now();
    const state = this.disk.read();
    const entry = state?.issuing.find((one) => one.chain[0].der.equals(ca.certificate.der));
    const root = state && entry && rootOf(state, entry);
    assert.ok(entry && root, 'what signs is in the journal, and so is its root');
    const print = fingerprint(root.certificate);
    assert.ok(rootsOf(this.source.bundle()).includes(print), 'its root is in the bundle');
    if (!this.#isSlow) assert.ok(this.#acknowledged.has(print), 'every proxy has its root');
    assert.ok(!entry.tainted && !root.tainted);
    this.signed.push({
      ...{ caName: nameOfCa(entry), keyId: entry.key.id, root: print },
      caEndMs: ca.certificate.validity.notAfterMs,
      notAfterMs: Math.min(nowMs + allowedMs, ca.validity.notAfterMs),
    });
  }

  async act(event: Event): Promise<void> {
    switch (event.kind) {
      case 'pass':
        return this.pass(event.minutes * MINUTE_MS);
      case 'sign':
        return this.sign(event.ttlMinutes * MINUTE_MS);
      case 'jump':
        this.clock.turn(event.hours * HOUR_MS);
        this.#faultUntilMs = Infinity;
        this.sign(MINUTE_MS);
        await this.pass(event.minutes * MINUTE_MS);
        this.sign(MINUTE_MS);
        this.clock.turn(-event.hours * HOUR_MS);
        // What was made ahead of time is valid by then; who asks sooner has another one made.
        return this.#mended(Math.max(event.hours, 0) * HOUR_MS);
      case 'away':
        if (this.upstream) this.upstream.away = 'nobody answers';
        await this.#faulty(event.minutes);
        if (this.upstream) this.upstream.away = undefined;
        return this.#mended();
      case 'full':
        this.disk.full = 'no space';
        await this.#faulty(event.minutes);
        this.disk.full = undefined;
        return this.#mended();
      case 'slow':
        this.#isSlow = true;
        await this.pass(event.minutes * MINUTE_MS);
        this.#isSlow = false;
        return this.#acknowledge();
      case 'crash':
        // The next process dies by itself; if it does not, it was a restart.
        await this.start(event.atEffect);
        if (this.#source && !this.disk.isDead) await this.pass(6 * HOUR_MS);
        return this.recover();
      case 'restart':
        assert.ok(await this.start());
        return;
      case 'tell':
        if (!this.upstream) return;
        this.upstream.root = await makeRoot(this.clock, 20 * DAY_MS);
        this.upstream.tell([this.upstream.root]);
        await idle(this);
        return;
      default:
        return this.#command(event);
    }
  }

  async #faulty(minutes: number): Promise<void> {
    this.#faultUntilMs = Infinity;
    await this.pass(minutes * MINUTE_MS);
  }

  #mended(aheadMs = 0): void {
    // The longest that anybody waits before the next try.
    this.#faultUntilMs = this.clock.now() + aheadMs + 6 * MINUTE_MS;
  }

  async #command({ kind, level }: { kind: string; level: 'root' | 'issuing' }): Promise<void> {
    const control = this.source.control();
    assert.ok(control);
    const signal = AbortSignal.timeout(20_000);
    const all = this.source.authorities().filter((one) => one.level === level);
    const name = (kind === 'revoke' ? all.find((one) => one.tainted) : all[0])?.id ?? 'none';
    const options = { signal, force: true };
    const run = {
      prepare: () => control.prepare(level, options),
      activate: () => control.activate(level, options),
      taint: () => control.taint(name, options),
      revoke: () => control.revoke(name, options),
    }[kind];
    const before = this.disk.text;
    let isDone = false;
    const done = run?.()
      .catch((thrown: unknown) => {
        if (this.disk.isDead) return;
        // Refused, or the upstream is away: nothing was tainted then.
        assert.ok(thrown instanceof IdentityError, String(thrown));
        if (kind === 'taint') assert.equal(taintsOf(this.disk.text), taintsOf(before));
      })
      .finally(() => (isDone = true));
    const isOver = () => isDone;
    // Acknowledgements and other nodes are waited for, minutes each.
    for (let n = 0; n < 1200 && !isOver(); n++) {
      await this.clock.advance(1000);
      await idle(this);
    }
    assert.ok(isOver(), `${kind} of the ${level} has no end`);
    await done;
    if (kind === 'taint' || kind === 'revoke') this.#forget();
    this.check();
  }

  /** What is revoked is not to be trusted any more. */
  #forget(): void {
    const state = this.disk.read();
    const revoked = new Set(
      state?.roots.filter((root) => root.revoked).map((root) => fingerprint(root.certificate)),
    );
    for (let n = this.signed.length; n-- > 0;) {
      if (revoked.has(this.signed[n]?.root ?? '')) this.signed.splice(n, 1);
    }
  }

  check(): void {
    const nowMs = this.clock.now();
    const bundle = this.source.bundle();
    const [now, before] = [rootsOf(bundle), this.#bundle && rootsOf(this.#bundle)];
    const sequenceBefore = this.#bundle?.sequence ?? 0;
    assert.ok(bundle.sequence >= sequenceBefore, 'the sequence never falls');
    if (before && now.join() !== before.join()) {
      assert.ok(bundle.sequence > sequenceBefore, 'other content has a higher number');
    }
    this.#bundle = bundle;
    const keys = new Set(this.disk.keys.ids() as readonly string[]);
    for (const one of this.signed) {
      if (one.notAfterMs <= nowMs) continue;
      assert.ok(
        now.includes(one.root),
        `an SVID until ${iso(one.notAfterMs)} has lost its root at ${iso(nowMs)}`,
      );
      if (one.caEndMs > nowMs) assert.ok(keys.has(one.keyId), 'the key of a living SVID is kept');
    }
    if (this.disk.text !== this.#read) {
      // Throws for two that are active.
      assert.ok(this.disk.read());
      this.#read = this.disk.text;
    }
    if (nowMs > this.#faultUntilMs)
      assert.ok(this.source.current(), `nothing to sign with at ${iso(nowMs)}`);
  }

  close(): void {
    this.#source?.close();
  }
}

const taintsOf = (text: string | undefined) => text?.split('"tainted": true').length;
const iso = (ms: number) => new Date(ms).toISOString();
const rootsOf = (bundle: TrustBundle) =>
  bundle.x509Authorities.map(({ der }) => fingerprint({ der: Buffer.from(der) }));

/** Until nothing more happens without the clock: keys come from other threads. */
async function idle({ disk }: World): Promise<undefined> {
  for (let turns = 0, all = 0; turns < 12; turns++, all++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (disk.isBusy && !disk.isDead) turns = 0;
    assert.ok(all < 200_000, 'a key was asked for and nothing becomes of it');
  }
  return undefined;
}

const minutes = (most: number) => fc.integer({ min: 1, max: most });
const level = fc.constantFrom('root' as const, 'issuing' as const);
const events: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('pass' as const), minutes: minutes(1500) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('sign' as const), ttlMinutes: minutes(240) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('jump' as const),
      hours: fc.constantFrom(1 as const, -1 as const),
      minutes: minutes(90),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('away' as const, 'full' as const, 'slow' as const),
      minutes: minutes(2000),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('crash' as const), atEffect: minutes(14) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('tell' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'taint' as const,
        'revoke' as const,
        'prepare' as const,
        'activate' as const,
      ),
      level,
    }),
  },
);

async function createWorld(kind: 'own' | 'elsewhere' | 'telling', seed: string): Promise<World> {
  const clock = new FakeClock(START_MS);
  if (kind === 'own') return new World(undefined, clock, seed);
  const root = await makeRoot(clock, 400 * DAY_MS);
  const upstream = new FakeUpstream(clock, root, { tells: kind === 'telling' });
  if (kind === 'telling') upstream.tell([root]);
  return new World(upstream, clock, seed);
}

describe('any history of the authorities', () => {
  for (const kind of ['own', 'elsewhere', 'telling'] as const) {
    it(`keeps what living SVIDs need, through crashes and faults (${kind})`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(events, { minLength: 4, maxLength: 30 }), async (history) => {
          const world = await createWorld(kind, kind);
          try {
            await world.start();
            world.check();
            for (const event of history) {
              await world.act(event);
              await world.recover();
              world.check();
            }
          } finally {
            world.close();
          }
        }),
        { numRuns: Number(process.env['CREDENCE_TEST_RUNS'] ?? 15) },
      );
    });
  }

  it('of a year with prompt proxies always has something to sign with, and nothing too early', async () => {
    const world = await createWorld('own', 'year');
    try {
      world.stepMs = HOUR_MS;
      await world.start();
      for (let day = 0; day < 365; day++) {
        for (let hour = 0; hour < 24; hour += 4) {
          world.sign(HOUR_MS);
          await world.pass(4 * HOUR_MS);
        }
        if (day % 37 === 20) await world.act({ kind: 'crash', atEffect: 1 + (day % 13) });
        if (day % 53 === 30) await world.act({ kind: 'full', minutes: 300 });
        if (day % 91 === 60)
          await world.act({ kind: 'jump', hours: day % 2 ? 1 : -1, minutes: 60 });
      }
      assert.ok(world.source.bundle().sequence > START_MS / 1000 + 18 * 2 - 4);
      assert.ok(world.signed.length > 2000);
    } finally {
      world.close();
    }
  });
});
