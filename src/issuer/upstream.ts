import type { Clock } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import { createListeners } from '../core/listeners.ts';
import type { Logger } from '../core/log.ts';
import { createReloadSchedule, RETRY_MS, type ReloadSchedule } from '../core/reload-schedule.ts';
import { createSchedule, type Scheduled } from '../core/schedule.ts';
import { visitFiles, watchFolders, type FolderWatch } from '../core/watch-folders.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { describe, isoTime, isValidAt, type Authority } from './authority.ts';
import { authorityStatus, rootStatus } from './ca-source.ts';
import type { AuthorityStatus, CaSource, UpstreamReload, UpstreamStatus } from './ca-source.ts';
import { RootBook } from './root-book.ts';
import {
  createDiskRootRecord,
  createMemoryRootRecord,
  type RootRecord,
  type RootRecordStore,
} from './root-record.ts';
import type { KeyManagerType } from './store.ts';
import { createEndNotice } from './upstream-end.ts';
import { parseUpstream, type UpstreamCa } from './upstream-ca.ts';
import { readUpstreamFiles, type UpstreamFiles } from './upstream-files.ts';

/** An issuing CA from elsewhere; lifetimes in milliseconds. */
export interface UpstreamConfig extends UpstreamFiles {
  /** How long a new root is in the bundle before anything is signed under it. */
  readonly newRootDelayMs: number;
}

/** Opens a watch on folders; replaced in tests. */
export type OpenFolderWatch = (
  onChange: () => void,
  onFailure: (thrown: unknown) => void,
) => FolderWatch;

interface Options {
  readonly upstream: UpstreamConfig;
  readonly trustDomain: TrustDomain;
  readonly x509SvidTtlMs: number;
  readonly dataDir: string;
  readonly keyManager: KeyManagerType;
}

interface Deps {
  readonly clock: Clock;
  readonly log: Logger;
  /** Default: the kernel's file notifications. */
  readonly watch?: OpenFolderWatch | undefined;
}

/** When a record that could not be written is tried again. */
const RECORD_RETRY_MS = 60_000;

/**
 * Signs with a CA from files and follows them: what is good replaces what there is, what is not is said
 * and left alone. Throws `ERR_KEY_STORE` when the files are no good at the start, `ERR_DISK`.
 */
export function openUpstream(options: Options, deps: Deps): CaSource {
  const record =
    options.keyManager === 'disk'
      ? createDiskRootRecord(options.dataDir)
      : createMemoryRootRecord();
  return new FileCa(options, deps, record);
}

class FileCa implements CaSource {
  readonly #options: Options;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #record: RootRecordStore;
  readonly #book: RootBook;
  readonly #watch: FolderWatch;
  readonly #reloads: ReloadSchedule;
  readonly #schedule;
  readonly #changes;
  readonly #results;
  readonly #endNotice;
  #active: UpstreamCa;
  /** The one that is waiting for its root to be known everywhere. */
  #next: { readonly ca: UpstreamCa; readonly atMs: number } | undefined;
  #longestTtlMs: number;
  #loadedAtMs: number;
  #fault: { readonly message: string; readonly atMs: number } | undefined;
  #planned: Scheduled | undefined;
  #recordRetry: Scheduled | undefined;

  constructor(
    options: Options,
    { clock, log, watch = watchFolders }: Deps,
    store: RootRecordStore,
  ) {
    const nowMs = clock.now();
    const onError = (err: unknown): void => log.error({ err }, 'a reader of the bundle failed');
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
    this.#record = store;
    this.#changes = createListeners<undefined>(onError);
    this.#results = createListeners<UpstreamReload>(onError);
    this.#reloads = createReloadSchedule(clock, (retry) => this.#reload(retry));
    this.#schedule = createSchedule(clock);
    this.#endNotice = createEndNotice(options.x509SvidTtlMs, {
      ...{ clock, log, schedule: this.#schedule },
    });
    const before = this.#readRecord();
    // The clock as the first number: a daemon that lost its disk still never counts backwards.
    const sequence = Math.max(before?.bundleSequence ?? 0, Math.floor(nowMs / 1000));
    this.#book = new RootBook(options.trustDomain, sequence);
    this.#longestTtlMs = Math.max(before?.longestTtlMs ?? 0, options.x509SvidTtlMs);
    this.#loadedAtMs = nowMs;
    this.#watch = watch(this.#reloads.changed, (err) => {
      log.warn({ err, retry_in_ms: RETRY_MS }, 'the files of the issuing CA cannot be watched');
      this.#reloads.blind();
    });
    try {
      this.#active = this.#read();
      if (before) this.#book.restore(before, this.#overlapEndMs(nowMs), nowMs);
      this.#book.list(this.#active.roots, nowMs);
      this.#book.hold(this.#active.root);
      this.#book.refresh(nowMs);
      store.write(this.#book.record(this.#longestTtlMs));
    } catch (thrown) {
      this.close();
      throw thrown;
    }
    this.#begin(this.#active);
    this.#plan();
  }

  current(): Authority | undefined {
    const { authority } = this.#active;
    return isValidAt(authority.validity, this.#clock.now()) ? authority : undefined;
  }

  usable(): Promise<Authority> {
    // A clock that was set forwards, and the timer does not know yet.
    if (!this.current()) this.#tick();
    const now = this.current();
    if (now) return Promise.resolve(now);
    const { certificate, validity } = this.#active.authority;
    const end = isoTime(validity.notAfterMs);
    const message = `the issuing CA ${certificate.subjectText} is valid until ${end} at most, it is ${isoTime(this.#clock.now())}`;
    const hint = `replace ${this.#options.upstream.certFile} and its key; credence notices`;
    return Promise.reject(new IdentityError('ERR_ISSUER', message, { hint }));
  }

  bundle() {
    return this.#book.bundle();
  }

  onBundleChange(listener: () => void): () => void {
    return this.#changes.add(listener);
  }

  authorities(): readonly AuthorityStatus[] {
    const { authority, root } = this.#active;
    return [
      rootStatus('root', root),
      authorityStatus('active', authority),
      ...(this.#next ? [authorityStatus('prepared', this.#next.ca.authority)] : []),
      ...this.#book
        .kept()
        .filter(({ der }) => !der.equals(root.der))
        .map((kept) => rootStatus('kept', kept)),
    ];
  }

  asked(ttlMs: number): void {
    if (ttlMs <= this.#longestTtlMs) return;
    this.#longestTtlMs = ttlMs;
    this.#write();
  }

  upstream(): UpstreamStatus {
    return {
      certFile: this.#options.upstream.certFile,
      loadedAtMs: this.#loadedAtMs,
      lastError: this.#fault?.message,
      lastErrorAtMs: this.#fault?.atMs,
    };
  }

  onReload(listener: (result: UpstreamReload) => void): () => void {
    return this.#results.add(listener);
  }

  close(): void {
    this.#reloads.close();
    this.#watch.close();
    this.#schedule.close();
  }

  #readRecord(): RootRecord | undefined {
    const before = this.#record.read();
    // Roots of another trust domain have no place in the bundle of this one.
    return before?.trustDomain === this.#options.trustDomain ? before : undefined;
  }

  /** Watched before they are read: what changes in between is seen. */
  #read(): UpstreamCa {
    const { upstream, trustDomain } = this.#options;
    const paths = [upstream.certFile, upstream.keyFile, upstream.bundleFile];
    this.#watch.rearm((onFolder) => visitFiles(paths, onFolder));
    return parseUpstream(readUpstreamFiles(upstream), upstream, {
      ...{ trustDomain, nowMs: this.#clock.now() },
    });
  }

  #reload(retry: boolean): Promise<void> {
    try {
      const ca = this.#read();
      this.#reloads.good();
      this.#loadedAtMs = this.#clock.now();
      this.#fault = undefined;
      const latest = this.#next?.ca ?? this.#active;
      const same = isSame(ca, latest);
      if (!same) this.#take(ca);
      this.#results.emit(same ? 'unchanged' : 'applied');
    } catch (thrown) {
      this.#reloads.refused();
      this.#refuse(toIdentityError(thrown, 'ERR_KEY_STORE'), retry);
    }
    return Promise.resolve();
  }

  /** After a `retry` only what is new is said: nobody has changed anything. */
  #refuse(error: IdentityError, retry: boolean): void {
    const { message } = error;
    if (!retry || message !== this.#fault?.message) {
      this.#log.warn(
        { err: error, code: error.code, ...describe(this.#active.authority.certificate) },
        'the new issuing CA is refused, the old one goes on',
      );
    }
    this.#fault = { message, atMs: this.#clock.now() };
    this.#results.emit('refused');
  }

  #take(ca: UpstreamCa): void {
    const nowMs = this.#clock.now();
    const skipped = this.#next?.ca;
    this.#book.list(ca.roots, nowMs);
    // Other nodes may have come as far as to sign with it.
    if (skipped) this.#book.release(skipped.root, this.#overlapEndMs(nowMs));
    this.#book.hold(this.#active.root);
    this.#book.hold(ca.root);
    this.#next = { ca, atMs: this.#dueMs(ca) };
    if (this.#next.atMs > nowMs) {
      this.#log.info(
        { ...describe(ca.authority.certificate), retry_in_ms: this.#next.atMs - nowMs },
        'a new root is trusted from now on, its CA signs later',
      );
    }
    this.#tick();
  }

  /** At once below a root that everybody had the time to learn of. */
  #dueMs({ root }: UpstreamCa): number {
    if (root.der.equals(this.#active.root.der)) return -Infinity;
    return this.#book.sinceMs(root) + this.#options.upstream.newRootDelayMs;
  }

  /** Does what is due, whoever asks: the new CA signs, old roots go, readers hear of it. */
  #tick(): void {
    const nowMs = this.#clock.now();
    const next = this.#next;
    if (next && (nowMs >= next.atMs || !this.current())) {
      const old = this.#active.root;
      this.#active = next.ca;
      this.#next = undefined;
      if (!old.der.equals(next.ca.root.der)) {
        this.#book.release(old, this.#overlapEndMs(nowMs));
      }
      this.#begin(next.ca);
    }
    const changed = this.#book.refresh(nowMs);
    this.#write();
    this.#plan();
    if (changed) this.#changes.emit(undefined);
  }

  #begin(ca: UpstreamCa): void {
    const { authority, doubts } = ca;
    for (const detail of doubts) this.#log.warn({ detail }, 'the issuing CA is used as it is');
    this.#log.info(describe(authority.certificate), 'an issuing CA from files signs');
    this.#endNotice.of(authority);
  }

  #plan(): void {
    this.#planned?.cancel();
    const { notAfterMs } = this.#active.authority.validity;
    const due = Math.min(
      this.#book.nextMs() ?? Infinity,
      this.#next ? Math.min(this.#next.atMs, notAfterMs) : Infinity,
    );
    if (due !== Infinity) this.#planned = this.#schedule.at(due, () => this.#tick());
  }

  /** Other nodes change over within the delay, and sign for the longest life until then. */
  #overlapEndMs(nowMs: number): number {
    return nowMs + this.#options.upstream.newRootDelayMs + this.#longestTtlMs;
  }

  /** What is not written matters to a restart alone, within the overlap of two roots. */
  #write(): void {
    this.#recordRetry?.cancel();
    try {
      this.#record.write(this.#book.record(this.#longestTtlMs));
    } catch (thrown) {
      this.#log.warn({ err: thrown }, 'the roots of this node could not be recorded');
      const dueMs = this.#clock.now() + RECORD_RETRY_MS;
      this.#recordRetry = this.#schedule.at(dueMs, () => this.#write());
    }
  }
}

function isSame(a: UpstreamCa, b: UpstreamCa): boolean {
  const parts = ({ authority, roots }: UpstreamCa) => [
    ...[authority.certificate, ...authority.chain].map(({ der }) => der.toString('base64')),
    '',
    ...roots.map(({ der }) => der.toString('base64')),
  ];
  return parts(a).join() === parts(b).join();
}
