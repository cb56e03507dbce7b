import type { TrustBundle } from '../identity/bundle.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { CaCertificate } from './ca-certificate.ts';
import type { RecordedRoot, RootRecord } from './root-record.ts';
import { readOneCertificate } from './upstream-certificates.ts';

const NOTHING = new Uint8Array();

interface Known {
  readonly certificate: CaCertificate;
  /** Since when it is in the bundle. */
  readonly sinceMs: number;
  /** Until when SVIDs of it may live: 0 for none, infinite while more may be signed. */
  untilMs: number;
}

/**
 * Which roots are trusted: those that are listed, and those that are not any more, for as long as SVIDs
 * of them may live. Who validates is handed a new root before anything is signed under it.
 */
export class RootBook {
  readonly #trustDomain: TrustDomain;
  readonly #known = new Map<string, Known>();
  #listed: readonly CaCertificate[] = [];
  #bundle: TrustBundle | undefined;
  #sequence: number;

  constructor(trustDomain: TrustDomain, sequence: number) {
    this.#trustDomain = trustDomain;
    this.#sequence = sequence;
  }

  /**
   * Takes over what an earlier run has left; under none of it is signed for now, and those that run
   * could still sign under are trusted until `untilMs`.
   */
  restore(roots: readonly RecordedRoot[], untilMs: number, nowMs: number): void {
    for (const root of roots) {
      this.#known.set(keyOf(root.der), {
        certificate: readOneCertificate(root.der),
        // A clock that was set back makes nobody wait longer.
        sinceMs: Math.min(root.sinceMs, nowMs),
        untilMs: root.untilMs ?? untilMs,
      });
    }
  }

  /** One that was always trusted here, and that SVIDs may hang on until then. */
  remember(certificate: CaCertificate, untilMs: number): void {
    const known = this.#known.get(keyOf(certificate.der));
    const until = Math.max(known?.untilMs ?? 0, untilMs);
    this.#known.set(keyOf(certificate.der), { certificate, sinceMs: 0, untilMs: until });
  }

  list(roots: readonly CaCertificate[], nowMs: number): void {
    this.#listed = roots;
    for (const certificate of roots) {
      const key = keyOf(certificate.der);
      if (!this.#known.has(key)) {
        this.#known.set(key, { certificate, sinceMs: nowMs, untilMs: 0 });
      }
    }
  }

  /** From now on SVIDs may be signed under it. */
  hold(root: CaCertificate): void {
    const known = this.#known.get(keyOf(root.der));
    if (known) known.untilMs = Infinity;
  }

  /** No more are; those that were live until then at most. */
  release(root: CaCertificate, untilMs: number): void {
    const known = this.#known.get(keyOf(root.der));
    if (known) known.untilMs = untilMs;
  }

  /** Infinite for one that is not in the bundle. */
  sinceMs(root: CaCertificate): number {
    return this.#known.get(keyOf(root.der))?.sinceMs ?? Infinity;
  }

  /** Whether SVIDs of another root may be about, whose holders have to learn of this one first. */
  signedBeside(root: CaCertificate, nowMs: number): boolean {
    const own = keyOf(root.der);
    return [...this.#known].some(([key, { untilMs }]) => key !== own && untilMs > nowMs);
  }

  /** Those that are trusted for the sake of what was signed under them alone. */
  kept(): readonly CaCertificate[] {
    const listed = new Set(this.#listed.map(({ der }) => keyOf(der)));
    return [...this.#known].flatMap(([key, { certificate }]) =>
      listed.has(key) ? [] : [certificate],
    );
  }

  /** Lets go of what is over. Returns whether the bundle is another one now. */
  refresh(nowMs: number): boolean {
    const listed = new Set(this.#listed.map(({ der }) => keyOf(der)));
    for (const [key, { certificate, untilMs }] of this.#known) {
      const wanted = listed.has(key) || untilMs > nowMs;
      if (!wanted || certificate.validity.notAfterMs <= nowMs) this.#known.delete(key);
    }
    const roots = [...this.#listed, ...this.kept()].filter(({ der }) =>
      this.#known.has(keyOf(der)),
    );
    // An empty bundle would be taken for no validation at all.
    if (roots.length === 0 || this.#isBundleOf(roots)) return false;
    this.#bundle = {
      trustDomain: this.#trustDomain,
      sequence: ++this.#sequence,
      x509Authorities: roots.map(({ der, validity: { notAfterMs } }) => ({ der, notAfterMs })),
    };
    return true;
  }

  /** When `refresh` has something to do; undefined while nothing ends. */
  nextMs(): number | undefined {
    const listed = new Set(this.#listed.map(({ der }) => keyOf(der)));
    const ends = [...this.#known].map(([key, { certificate, untilMs }]) =>
      Math.min(certificate.validity.notAfterMs, listed.has(key) ? Infinity : untilMs),
    );
    return ends.length === 0 ? undefined : Math.min(...ends);
  }

  bundle(): TrustBundle {
    if (!this.#bundle) throw new TypeError('the bundle is asked for before there is a root');
    return this.#bundle;
  }

  record(longestTtlMs: number): RootRecord {
    return {
      trustDomain: this.#trustDomain,
      bundleSequence: this.#sequence,
      longestTtlMs,
      roots: Array.from(this.#known.values(), ({ certificate, sinceMs, untilMs }) => ({
        der: certificate.der,
        sinceMs,
        untilMs: Number.isFinite(untilMs) ? untilMs : undefined,
      })),
    };
  }

  #isBundleOf(roots: readonly CaCertificate[]): boolean {
    const before = this.#bundle?.x509Authorities ?? [];
    return (
      before.length === roots.length &&
      roots.every(({ der }, n) => der.equals(before[n]?.der ?? NOTHING))
    );
  }
}

function keyOf(der: Uint8Array): string {
  return Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString('base64');
}
