import type { Clock } from '../core/clock.ts';
import { toIdentityError, type IdentityError } from '../core/errors.ts';
import { createListeners } from '../core/listeners.ts';
import type { Logger } from '../core/log.ts';
import { createReloadSchedule, RETRY_MS, type ReloadSchedule } from '../core/reload-schedule.ts';
import { visitFiles, watchFolders, type FolderWatch } from '../core/watch-folders.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { describe, type Authority } from './authority.ts';
import type { CaSource, UpstreamReload, UpstreamStatus } from './ca-source.ts';
import type { KeyManager } from './keys.ts';
import { readOwnBefore } from './own-before.ts';
import { createDiskRootRecord, createMemoryRootRecord } from './root-record.ts';
import type { KeyManagerType } from './store.ts';
import { Succession, type Past } from './succession.ts';
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
  /** Where the keys of CAs are that this node had before; absent: beside the journal. */
  readonly keys?: KeyManager | undefined;
}

/**
 * Signs with a CA from files and follows them: what is good replaces what there is, what is not is said
 * and left alone. Throws `ERR_KEY_STORE` when the files, or what is known of an earlier run, are no
 * good at the start; `ERR_DISK`.
 */
export async function openUpstream(options: Options, deps: Deps): Promise<CaSource> {
  const { dataDir, trustDomain } = options;
  if (options.keyManager === 'memory') {
    return new FileCa(options, deps, { store: createMemoryRootRecord(), own: undefined });
  }
  const store = createDiskRootRecord(dataDir);
  const now = { nowMs: deps.clock.now(), log: deps.log, keys: deps.keys };
  return new FileCa(options, deps, { store, own: await readOwnBefore(dataDir, trustDomain, now) });
}

class FileCa implements CaSource {
  readonly #options: Options;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #succession: Succession;
  readonly #watch: FolderWatch;
  readonly #reloads: ReloadSchedule;
  readonly #results;
  #loadedAtMs: number;
  #fault: { readonly message: string; readonly atMs: number } | undefined;

  constructor(options: Options, { clock, log, watch = watchFolders }: Deps, past: Past) {
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
    this.#results = createListeners<UpstreamReload>((err) =>
      log.error({ err }, 'a reader of reloads failed'),
    );
    this.#loadedAtMs = clock.now();
    this.#reloads = createReloadSchedule(clock, (retry) => this.#reload(retry));
    this.#watch = watch(this.#reloads.changed, (err) => {
      log.warn({ err, retry_in_ms: RETRY_MS }, 'the files of the issuing CA cannot be watched');
      this.#reloads.blind();
    });
    try {
      const terms = { ...options, ...options.upstream };
      this.#succession = new Succession(this.#read(), terms, { clock, log, ...past });
    } catch (thrown) {
      this.#unwatch();
      throw thrown;
    }
  }

  current() {
    return this.#succession.current();
  }

  usable(): Promise<Authority> {
    try {
      return Promise.resolve(this.#succession.usable());
    } catch (thrown) {
      return Promise.reject(toIdentityError(thrown, 'ERR_ISSUER'));
    }
  }

  bundle() {
    return this.#succession.bundle();
  }

  onBundleChange(listener: () => void): () => void {
    return this.#succession.onBundleChange(listener);
  }

  authorities() {
    return this.#succession.authorities();
  }

  /** The roots are somebody else's. */
  crlSigners(): [] {
    return [];
  }

  revokedAuthorities(): [] {
    return [];
  }

  onSignersChange(): () => void {
    return () => undefined;
  }

  /** Whoever replaces the files replaces the authorities. */
  control(): undefined {
    return undefined;
  }

  onTainted(): () => void {
    return () => undefined;
  }

  asked(ttlMs: number): number {
    this.#succession.asked(ttlMs);
    return ttlMs;
  }

  upstream(): UpstreamStatus {
    return {
      name: this.#options.upstream.certFile,
      certFile: this.#options.upstream.certFile,
      loadedAtMs: this.#loadedAtMs,
      lastError: this.#fault?.message,
      lastErrorAtMs: this.#fault?.atMs,
      nextTryMs: undefined,
    };
  }

  onReload(listener: (result: UpstreamReload) => void): () => void {
    return this.#results.add(listener);
  }

  close(): void {
    this.#unwatch();
    this.#succession.close();
  }

  #unwatch(): void {
    this.#reloads.close();
    this.#watch.close();
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
      this.#recover(ca);
      const same = isSame(ca, this.#succession.latest());
      if (!same) this.#succession.take(ca);
      this.#results.emit(same ? 'unchanged' : 'applied');
    } catch (thrown) {
      this.#reloads.refused();
      this.#refuse(toIdentityError(thrown, 'ERR_KEY_STORE'), retry);
    }
    return Promise.resolve();
  }

  #recover({ authority }: UpstreamCa): void {
    if (!this.#fault) return;
    this.#log.info(describe(authority.certificate), 'the files of the issuing CA are good again');
    this.#fault = undefined;
  }

  /** After a `retry` only what is new is said: nobody has changed anything. */
  #refuse(error: IdentityError, retry: boolean): void {
    const { message } = error;
    if (!retry || message !== this.#fault?.message) {
      const { certificate } = this.#succession.latest().authority;
      this.#log.warn(
        { reason: message, code: error.code, ...describe(certificate) },
        'the new issuing CA is refused, the old one goes on',
      );
    }
    this.#fault = { message, atMs: this.#clock.now() };
    this.#results.emit('refused');
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
