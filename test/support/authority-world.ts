import type { TestContext } from 'node:test';
import { X509Certificate } from 'node:crypto';
import {
  continueAuthorities,
  type AuthoritiesConfig,
  type AuthoritiesDeps,
} from '../../src/issuer/authority-source.ts';
import type { CaSource } from '../../src/issuer/ca-source.ts';
import { FakeDisk, FakeReaders } from './authorities.ts';
import { FakeClock } from './fake-clock.ts';
import { seededRandom } from './fake-random.ts';
import { FakeLogger, issuerConfig } from './issuer.ts';

/** Authorities on a disk and a clock that are made up, to be started as often as wanted. */
export function authorityWorld(t: TestContext, more: Partial<AuthoritiesConfig> = {}) {
  const clock = new FakeClock(Date.UTC(2030, 0, 1));
  const [disk, readers, log] = [new FakeDisk(), new FakeReaders(), new FakeLogger()];
  /** Until nothing more happens without the clock: keys come from other threads. */
  async function idle(): Promise<void> {
    for (let turns = 0; turns < 12; turns++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (disk.isBusy) turns = 0;
    }
  }
  /** Time passes in steps of that many milliseconds, and what falls due in it is done. */
  async function pass(ms: number, stepMs = 600_000): Promise<void> {
    for (let left = ms; left > 0; left -= stepMs) {
      clock.spend(Math.min(left, stepMs));
      await clock.advance(0);
      await idle();
    }
  }
  const open = (deps: Partial<AuthoritiesDeps> = {}): Promise<CaSource> => {
    const random = seededRandom('authorities');
    const opening = continueAuthorities(
      disk.process(),
      { ...issuerConfig(), ...more },
      { clock, log, random, readers, ...deps },
    );
    return opening.then((source) => {
      t.after(() => source.close());
      return source;
    });
  };
  return { clock, disk, readers, log, idle, pass, open };
}

/** What signs, by its name. */
export const signer = (source: CaSource) =>
  source.current()?.certificate.keyId.toString('hex') ?? 'nobody';

/** `slot id` of all of a level, ids cut short. */
export const slots = (source: CaSource) =>
  source
    .authorities()
    .map(({ slot, id, tainted }) => `${slot}${tainted ? '!' : ''} ${id.slice(0, 8)}`);

export const idOf = (source: CaSource, slot: string) =>
  source.authorities().find((one) => one.slot === slot)?.id ?? 'none';

/** The roots that are trusted, by their subjects. */
export const rootsOf = (source: CaSource) =>
  source.bundle().x509Authorities.map(({ der }) => new X509Certificate(der).subject);
