import { randomFillSync } from 'node:crypto';

/** Randomness as the daemon sees it, so that tests can repeat a run. */
export interface Random {
  /** Uniform in [0, 1); for jitter only, never for secrets. */
  unit(): number;
  /** `length` bytes from the system's generator. */
  bytes(length: number): Buffer;
}

export const systemRandom: Random = {
  unit: () => Math.random(),
  bytes: (length) => randomFillSync(Buffer.allocUnsafe(length)),
};
