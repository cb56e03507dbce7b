import type { Clock } from '../../src/core/clock.ts';
import { IdentityError } from '../../src/core/errors.ts';
import { createSchedule } from '../../src/core/schedule.ts';
import type { SpiffeId } from '../../src/identity/spiffe-id.ts';
import type { X509Svid } from '../../src/identity/svid.ts';
import type { SvidIssuer, SvidRequest } from '../../src/rotation/minter.ts';
import { createRotator } from '../../src/rotation/rotator.ts';
import { FakeClock, settle } from './fake-clock.ts';
import { fakeSvid, WEB } from './identities.ts';
import { FakeLogger } from './issuer.ts';

export const HOUR = 3_600_000;
/** A request for an SVID. */
export const ask = (id: SpiffeId = WEB, more: Partial<SvidRequest> = {}): SvidRequest => ({
  id,
  ttlMs: undefined,
  dnsNames: [],
  ...more,
});

/** Signs at once, late, never, or wrongly, and remembers what it was asked for. */
class FakeIssuer implements SvidIssuer {
  readonly requests: SvidRequest[] = [];
  fault: Error | undefined;
  /** Who signs what is asked for from now on. */
  authorityId = 'aa';
  /** Makes the signing wait until `sign`. */
  late = false;
  /** Of each request, in order. */
  readonly signals: AbortSignal[] = [];
  #waiting: (() => void)[] = [];
  readonly #clock: Pick<Clock, 'now'>;

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  async mint(request: SvidRequest, { signal }: { signal: AbortSignal }): Promise<X509Svid> {
    this.requests.push(request);
    this.signals.push(signal);
    const serial = `${this.requests.length}`;
    const { authorityId } = this;
    if (this.late) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.fault) throw this.fault;
    const ttlMs = request.ttlMs ?? HOUR;
    return fakeSvid(request.id, { serial, issuedAtMs: this.#clock.now(), ttlMs, authorityId });
  }

  async sign(): Promise<void> {
    for (const resolve of this.#waiting.splice(0)) resolve();
    await settle();
  }
}

/** A rotator on fakes, and how processes hold what it makes. */
export function rotation({ jitter = 0, fraction = 0.5 } = {}) {
  const clock = new FakeClock();
  let stepMs = 0;
  // A machine's timers count on when its wall clock is set back.
  const wall: Clock = {
    now: () => clock.now() + stepMs,
    monotonic: () => clock.monotonic(),
    after: (delayMs, fn) => clock.after(delayMs, fn),
  };
  const setBack = (ms: number) => (stepMs -= ms);
  const issuer = new FakeIssuer(wall);
  const log = new FakeLogger();
  const draws: number[] = [];
  const random = {
    unit: () => {
      draws.push(0.25);
      return 0.25;
    },
    bytes: (length: number) => Buffer.alloc(length),
  };
  const schedule = createSchedule(wall);
  const deps = { issuer, clock: wall, random, schedule, log };
  const rotator = createRotator({ fraction, jitter }, deps);
  const hold = (holder = 'p', request = ask()) => {
    const seen: (string | undefined)[] = [];
    const holding = rotator.hold(holder, request, () => seen.push(holding.current()?.svid.serial));
    return {
      seen,
      current: () => holding.current(),
      failure: () => holding.failure(),
      release: () => holding.release(),
      serial: () => holding.current()?.svid.serial,
    };
  };
  return { clock, setBack, issuer, log, draws, rotator, hold };
}

/** A fault for the issuer. */
export const broken = new IdentityError('ERR_ISSUER', 'no CA');
