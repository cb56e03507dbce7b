import type { X509Svid } from '../identity/svid.ts';

/** An SVID that was signed, without its secrets. */
export type SignedSerial = Pick<X509Svid, 'id' | 'serial' | 'authorityId' | 'notAfterMs'>;

/** Which SVIDs this process has signed that may still be accepted somewhere. */
export interface SignedSerials {
  add(svid: SignedSerial): void;
  get(serial: string): SignedSerial | undefined;
  of(id: string): readonly SignedSerial[];
  /** Whether some were forgotten before their end, because there were too many. */
  readonly forgot: boolean;
}

/** Some 150 bytes each: with SVIDs of an hour, those of ten thousand identities. */
const MOST = 50_000;
/** Before that many, nobody looks for what has ended. */
const FIRST_SWEEP = 1024;

export function createSignedSerials(
  now: () => number,
  { most = MOST, firstSweep = FIRST_SWEEP } = {},
): SignedSerials {
  const bySerial = new Map<string, SignedSerial>();
  let sweepAt = firstSweep;
  let forgot = false;

  /** Each time twice as many are left, so that an SVID costs a look or two in all. */
  function sweep(): void {
    const nowMs = now();
    for (const [serial, { notAfterMs }] of bySerial) {
      if (notAfterMs + KEPT_MS < nowMs) bySerial.delete(serial);
    }
    // Room for a tenth at least, so that the next few do not look through all of them again.
    let surplus = bySerial.size - Math.floor(most * 0.9);
    for (const [serial, { notAfterMs }] of bySerial) {
      if (surplus-- <= 0) break;
      bySerial.delete(serial);
      forgot ||= notAfterMs >= nowMs;
    }
    sweepAt = Math.min(Math.max(firstSweep, 2 * bySerial.size), most);
  }

  return {
    add({ id, serial, authorityId, notAfterMs }) {
      if (bySerial.size >= sweepAt) sweep();
      bySerial.set(serial, { id, serial, authorityId, notAfterMs });
    },
    get: (serial) => bySerial.get(serial),
    of(id) {
      const nowMs = now();
      return [...bySerial.values()].filter((one) => one.id === id && one.notAfterMs >= nowMs);
    },
    get forgot() {
      return forgot;
    },
  };
}

/** A clock that went ahead and comes back finds those again that had ended. */
const KEPT_MS = 3_600_000;
