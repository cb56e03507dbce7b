import type { Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import { createListeners } from '../core/listeners.ts';
import type { Logger } from '../core/log.ts';
import { createSchedule, type Scheduled } from '../core/schedule.ts';
import type { TrustBundle } from '../identity/bundle.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { describe, isoTime, isValidAt, type Authority } from './authority.ts';
import type { AuthorityStatus } from './ca-source.ts';
import { authorityStatus, rootStatus } from './ca-status.ts';
import type { OwnBefore } from './own-before.ts';
import { RootBook } from './root-book.ts';
import type { RootRecord, RootRecordStore } from './root-record.ts';
import { createRootRecorder } from './root-recorder.ts';
import type { UpstreamCa } from './upstream-ca.ts';
import { createEndNotice } from './upstream-end.ts';

/** What a succession is told; lifetimes in milliseconds. */
export interface SuccessionOptions {
  readonly trustDomain: TrustDomain;
  readonly x509SvidTtlMs: number;
  /** For hints. */
  readonly certFile: string;
  /** How long a new root is in the bundle before anything is signed under it. */
  readonly newRootDelayMs: number;
}

/** What was before this run. */
export interface Past {
  /** What is known of an earlier run. */
  readonly store: RootRecordStore;
  /** What signed before the CAs came from files. */
  readonly own: OwnBefore | undefined;
}

interface Deps extends Past {
  readonly clock: Clock;
  readonly log: Logger;
}

/** A CA that signs, and the root above it. */
interface Signer extends Pick<UpstreamCa, 'authority' | 'root' | 'doubts'> {
  readonly isOwn: boolean;
  /** What it has signed may live until then at least. */
  readonly untilMs: number;
}

/**
 * Which CA signs and which one follows it. A root is trusted before anything is signed under it, also
 * by a run after this one, and for as long as what was signed under it may live.
 */
export class Succession {
  readonly #options: SuccessionOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #book: RootBook;
  readonly #schedule;
  readonly #changes;
  readonly #endNotice;
  readonly #recorder;
  /** What the files held last. */
  #latest: UpstreamCa;
  /** Undefined while there is no other one to sign with than the one that has to wait. */
  #active: Signer | undefined;
  /** The one that is waiting for its root to be known everywhere. */
  #next: { readonly ca: UpstreamCa; readonly atMs: number } | undefined;
  #longestTtlMs: number;
  #planned: Scheduled | undefined;
  #plannedMs = Infinity;

  /** Begins with a CA from files. Throws `ERR_DISK`, and `ERR_KEY_STORE` for a record that is no good. */
  constructor(first: UpstreamCa, options: SuccessionOptions, { clock, log, store, own }: Deps) {
    const nowMs = clock.now();
    this.#options = options;
    this.#latest = first;
    this.#clock = clock;
    this.#log = log;
    this.#changes = createListeners<undefined>((err) =>
      log.error({ err }, 'a reader of the bundle failed'),
    );
    const before = readRecord(store, options.trustDomain);
    // The clock as the first number: a daemon that lost its disk still never counts backwards.
    const known = Math.max(before?.bundleSequence ?? 0, own?.bundleSequence ?? 0);
    const sequence = Math.max(known, Math.floor(nowMs / 1000));
    this.#book = new RootBook(options.trustDomain, sequence);
    this.#longestTtlMs = Math.max(before?.longestTtlMs ?? 0, options.x509SvidTtlMs);
    this.#book.restore(before?.roots ?? [], this.#overlapEndMs(nowMs), nowMs);
    for (const one of own?.roots ?? []) this.#book.remember(one.certificate, one.untilMs);
    this.#book.list(first.roots, nowMs);
    this.#book.refresh(nowMs);
    this.#schedule = createSchedule(clock);
    this.#endNotice = createEndNotice(options.x509SvidTtlMs, {
      ...{ clock, log, schedule: this.#schedule },
    });
    this.#recorder = createRootRecorder(store, () => this.#book.record(this.#longestTtlMs), {
      ...{ clock, log, schedule: this.#schedule },
    });
    try {
      this.#begin(first, own, nowMs);
      this.#recorder.record();
    } catch (thrown) {
      this.close();
      throw thrown;
    }
    this.#plan();
  }

  #begin(first: UpstreamCa, own: OwnBefore | undefined, nowMs: number): void {
    const atMs = this.#dueMs(first, nowMs);
    if (atMs <= nowMs) {
      this.#book.hold(first.root);
      return this.#activate(fromFiles(first));
    }
    if (own?.signer) {
      const { root, authority } = own.signer;
      const untilMs = authority.validity.notAfterMs;
      this.#book.hold(root);
      this.#activate({ root, authority, untilMs, doubts: [], isOwn: true });
    }
    this.#await(first, atMs, nowMs);
  }

  /** The CA that the files held last: it signs, or will. */
  latest(): UpstreamCa {
    return this.#latest;
  }

  current(): Authority | undefined {
    const authority = this.#active?.authority;
    return authority && isValidAt(authority.validity, this.#clock.now()) ? authority : undefined;
  }

  /** Throws `ERR_ISSUER` while there is none. */
  usable(): Authority {
    // A clock that was set, and the timer does not know yet.
    if (!this.current() && this.#isSomethingDue()) this.#tick();
    const now = this.current();
    if (now) return now;
    const message = this.#active
      ? this.#whyOver(this.#active.authority)
      : `the root ${this.#next?.ca.root.subjectText ?? ''} is new, its CA signs from ${isoTime(this.#next?.atMs ?? 0)}`;
    throw new IdentityError('ERR_ISSUER', message, {
      hint: this.#active
        ? `replace ${this.#options.certFile} and its key; credence notices`
        : 'until then other nodes may not trust it (issuer.upstream.new_root_delay)',
    });
  }

  #whyOver({ certificate, validity }: Authority): string {
    const end = isoTime(validity.notAfterMs);
    return `the issuing CA ${certificate.subjectText} is valid until ${end} at most, it is ${isoTime(this.#clock.now())}`;
  }

  bundle(): TrustBundle {
    return this.#book.bundle();
  }

  onBundleChange(listener: () => void): () => void {
    return this.#changes.add(listener);
  }

  authorities(): readonly AuthorityStatus[] {
    const root = this.#active?.root ?? this.#next?.ca.root;
    return [
      ...(root ? [rootStatus('root', root)] : []),
      ...(this.#active ? [authorityStatus('active', this.#active.authority)] : []),
      ...(this.#next
        ? [
            {
              ...authorityStatus('prepared', this.#next.ca.authority),
              signsAtMs: this.#next.atMs,
            },
          ]
        : []),
      ...this.#book
        .kept()
        .filter(({ der }) => !(root && der.equals(root.der)))
        .map((kept) => rootStatus('kept', kept)),
    ];
  }

  /** An SVID of this lifetime is about to be signed. */
  asked(ttlMs: number): void {
    if (ttlMs <= this.#longestTtlMs) return;
    this.#longestTtlMs = ttlMs;
    this.#recorder.keep();
  }

  /** A CA from files that were replaced. */
  take(ca: UpstreamCa): void {
    const nowMs = this.#clock.now();
    const skipped = this.#next?.ca;
    this.#latest = ca;
    this.#book.list(ca.roots, nowMs);
    // Other nodes may have come as far as to sign with it.
    if (skipped) this.#book.release(skipped.root, this.#overlapEndMs(nowMs));
    if (this.#active) this.#book.hold(this.#active.root);
    this.#await(ca, this.#dueMs(ca, nowMs), nowMs);
    this.#tick();
  }

  close(): void {
    this.#schedule.close();
  }

  #await(ca: UpstreamCa, atMs: number, nowMs: number): void {
    this.#book.hold(ca.root);
    this.#next = { ca, atMs };
    if (atMs <= nowMs) return;
    const fields = { ...describe(ca.authority.certificate), retry_in_ms: atMs - nowMs };
    if (this.#active)
      this.#log.info(fields, 'a new root is trusted from now on, its CA signs later');
    else this.#log.warn(fields, 'a new root is trusted from now on, nothing is signed until later');
  }

  /** At once below a root that everybody had the time to learn of, or that there is nobody to tell. */
  #dueMs({ root }: UpstreamCa, nowMs: number): number {
    if (this.#active && root.der.equals(this.#active.root.der)) return -Infinity;
    if (!this.#book.signedBeside(root, nowMs)) return -Infinity;
    return this.#book.sinceMs(root) + this.#options.newRootDelayMs;
  }

  #isSomethingDue(): boolean {
    const nowMs = this.#clock.now();
    return nowMs >= this.#plannedMs || this.#nextIsDue(nowMs);
  }

  #nextIsDue(nowMs: number): boolean {
    if (!this.#next) return false;
    return nowMs >= this.#next.atMs || (this.#active !== undefined && !this.current());
  }

  /** Does what is due, whoever asks: the new CA signs, old roots go, readers hear of it. */
  #tick(): void {
    const nowMs = this.#clock.now();
    const next = this.#next;
    if (next && this.#nextIsDue(nowMs)) {
      const old = this.#active;
      this.#next = undefined;
      if (old && !old.root.der.equals(next.ca.root.der)) {
        this.#book.release(old.root, Math.max(this.#overlapEndMs(nowMs), old.untilMs));
      }
      this.#activate(fromFiles(next.ca));
    }
    const changed = this.#book.refresh(nowMs);
    this.#recorder.keep();
    this.#plan();
    if (changed) this.#changes.emit(undefined);
  }

  #activate(signer: Signer): void {
    this.#active = signer;
    const { authority, doubts, isOwn } = signer;
    for (const detail of doubts) this.#log.warn({ detail }, 'the issuing CA is used as it is');
    const text = isOwn ? 'the CA of this node signs for now' : 'an issuing CA from files signs';
    this.#log.info(describe(authority.certificate), text);
    this.#endNotice.of(authority);
  }

  #plan(): void {
    this.#planned?.cancel();
    const endMs = this.#active?.authority.validity.notAfterMs ?? Infinity;
    const dueMs = Math.min(
      this.#book.nextMs() ?? Infinity,
      this.#next ? Math.min(this.#next.atMs, endMs) : Infinity,
    );
    this.#plannedMs = dueMs;
    if (dueMs !== Infinity) this.#planned = this.#schedule.at(dueMs, () => this.#tick());
  }

  /** Other nodes change over within the delay, and sign for the longest life until then. */
  #overlapEndMs(nowMs: number): number {
    return nowMs + this.#options.newRootDelayMs + this.#longestTtlMs;
  }
}

function fromFiles(ca: UpstreamCa): Signer {
  return { ...ca, isOwn: false, untilMs: 0 };
}

/** Roots of another trust domain have no place in the bundle of this one. */
function readRecord(store: RootRecordStore, trustDomain: TrustDomain): RootRecord | undefined {
  const before = store.read();
  return before?.trustDomain === trustDomain ? before : undefined;
}
