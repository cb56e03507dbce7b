import { createHash } from 'node:crypto';
import type { Random } from '../../src/core/random.ts';

/** Repeatable randomness: the same seed gives the same run. */
export function seededRandom(seed = 'credence'): Random {
  let counter = 0;
  const block = () => createHash('sha256').update(`${seed}:${counter++}`).digest();
  return {
    unit: () => block().readUInt32BE(0) / 2 ** 32,
    bytes(length) {
      const parts: Buffer[] = [];
      for (let have = 0; have < length; have += 32) parts.push(block());
      return Buffer.concat(parts).subarray(0, length);
    },
  };
}
