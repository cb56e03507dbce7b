import { unlinkSync } from 'node:fs';
import { unlessAborted, type Clock } from '../core/clock.ts';
import { IdentityError, systemCode, toIdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { CertifierDeps } from './authority.ts';
import { NO_READERS, type BundleReaders } from './bundle-readers.ts';
import { createAuthorityControl } from './ca-control.ts';
import { withRootsBefore, withTold, type Moment } from './ca-changes.ts';
import { CaKeeper } from './ca-keeper.ts';
import { CaLife } from './ca-life.ts';
import type { CaObserver, StepTerms } from './ca-steps.ts';
import { loadAuthorities } from './ca-load.ts';
import type { RotationTerms } from './ca-plan.ts';
import type { CaSource } from './ca-source.ts';
import { SELF_SIGNED, type CaState } from './ca-state.ts';
import { crlSignersOf, revokedIn, statusOf } from './ca-status.ts';
import type { KeyManager } from './keys.ts';
import { createDiskRootRecord, rootRecordPath } from './root-record.ts';
import { openStore, type AuthorityStore, type KeyManagerType } from './store.ts';
import { followTaints } from './told-taints.ts';
import type { UpstreamAuthority } from './upstream-authority.ts';
import { readOneCertificate } from './upstream-certificates.ts';

/** What authorities are to be like; lives in milliseconds. */
export interface AuthoritiesConfig extends Omit<StepTerms, 'upstream' | keyof RotationTerms> {
  readonly caRotation: RotationTerms;
  readonly dataDir: string;
  readonly keyManager: KeyManagerType;
  readonly x509SvidTtlMs: number;
}

export interface AuthoritiesDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Signs issuing CAs; absent: a root of our own. Closed with the source. */
  readonly upstream?: UpstreamAuthority | undefined;
  /** Keys that are not on this disk. */
  readonly keys?: KeyManager | undefined;
  /** Who has the bundle; absent: nobody is waited for. */
  readonly readers?: BundleReaders | undefined;
  /** How many SVIDs of these CAs are held; absent: none. */
  readonly inUse?: ((authorityIds: readonly string[]) => number) | undefined;
  readonly observer?: CaObserver | undefined;
  /** Told of each certificate that a root of our own signs, its own too; when it throws nobody uses it. */
  readonly onCaSigned?: CertifierDeps['onCaSigned'];
  /** Ends the wait for an upstream that is away. */
  readonly signal?: AbortSignal | undefined;
  /** Told why that wait goes on; the returned function when it does not any more. */
  readonly waiting?: ((reason: string) => () => void) | undefined;
}

/**
 * Continues with the authorities of the store or makes the first ones; resolves when there is one to
 * sign with. An upstream that is away is waited for, until the signal is aborted; what is wrong with
 * the store is thrown: `ERR_KEY_STORE`, `ERR_DISK`, and `ERR_ISSUER` for a root whose time is not now.
 */
export async function openAuthorities(
  config: AuthoritiesConfig,
  deps: AuthoritiesDeps,
): Promise<CaSource> {
  return continueAuthorities(openStore(config.keyManager, config.dataDir, deps.keys), config, deps);
}

/** The same with a store that is open. */
export async function continueAuthorities(
  store: AuthorityStore,
  config: AuthoritiesConfig,
  deps: AuthoritiesDeps,
): Promise<CaSource> {
  const { clock, log, upstream, readers = NO_READERS } = deps;
  const name = upstream?.name ?? SELF_SIGNED;
  const loaded = await loadAuthorities(store, config.trustDomain, {
    ...{ nowMs: clock.now(), longestTtlMs: config.x509SvidTtlMs },
  });
  const state = takeOver(store, loaded.state, config, { name, nowMs: clock.now() });
  const keeper = new CaKeeper({
    ...{ store, state, keys: loaded.keys, upstream: name, clock, log },
    newRootDelayMs: config.newRootDelayMs,
  });
  const { observer, onCaSigned, random } = deps;
  const life = new CaLife(
    { ...config, ...config.caRotation, upstream: name },
    {
      ...{ keeper, keys: store.keys, upstream, readers, observer },
      ...{ clock, random, log, onCaSigned },
    },
  );
  try {
    await keeper.removeKeys();
    await begin(life, deps);
  } catch (thrown) {
    life.close();
    throw thrown;
  }
  return sourceOf(keeper, life, deps);
}

/** Until there is something to sign with. */
async function begin(life: CaLife, deps: AuthoritiesDeps): Promise<void> {
  const { signal, upstream, log, waiting } = deps;
  const options = signal ? { signal } : {};
  let said = '';
  let release: (() => void) | undefined;
  try {
    for (;;) {
      signal?.throwIfAborted();
      try {
        await life.usable(options);
        break;
      } catch (thrown) {
        const error = toIdentityError(thrown, 'ERR_ISSUER');
        if (signal?.aborted || !upstream || error.code !== 'ERR_ISSUER') throw thrown;
        const reason = `no CA from ${upstream.name} yet: ${error.message}`;
        if (reason !== said) {
          release?.();
          release = waiting?.(reason);
          log.warn({ reason, code: error.code }, 'nothing can be signed before there is a CA');
        }
        said = reason;
        await life.stirred(options);
      }
    }
    // What is due beside it, and when to look again.
    await unlessAborted(life.advance(), signal);
  } finally {
    release?.();
  }
}

function sourceOf(keeper: CaKeeper, life: CaLife, deps: AuthoritiesDeps): CaSource {
  const { upstream, log, inUse = () => 0 } = deps;
  const control = createAuthorityControl({
    ...{ keeper, life, inUse, log },
    upstreamName: upstream?.name,
  });
  const told = upstream?.roots;
  const authorities = () => statusOf(keeper.state());
  const stop = told?.tainted ? followTaints({ ...deps, told, control, authorities }) : undefined;
  return {
    current: () => keeper.current(),
    usable: (options) => life.usable(options),
    bundle: () => keeper.bundle(),
    onBundleChange: (listener) => keeper.onBundleChange(listener),
    authorities,
    asked: (ttlMs) => keeper.allowedTtlMs(ttlMs),
    upstream: () => life.upstreamStatus(),
    onReload: () => () => undefined,
    control: () => control,
    onTainted: (listener) => keeper.onTainted(listener),
    crlSigners: () => crlSignersOf(keeper.state(), (id) => keeper.key(id)),
    revokedAuthorities: () => revokedIn(keeper.state()),
    onSignersChange: (listener) => keeper.onChange(listener),
    close() {
      stop?.();
      life.close();
    },
  };
}

/**
 * What another source of CAs has left: roots of files, under which nothing is signed from now on, and
 * roots that another upstream told of. In the journal before the record of the files goes.
 */
function takeOver(
  { journal }: AuthorityStore,
  state: CaState,
  { dataDir, keyManager, trustDomain, newRootDelayMs, x509SvidTtlMs }: AuthoritiesConfig,
  { name, nowMs }: { name: string; nowMs: number },
): CaState {
  const latestMs = Math.max(nowMs, state.writtenMs);
  const moment: Moment = { nowMs, latestMs, upstream: name, othersMs: newRootDelayMs };
  const active = state.issuing.find((ca) => ca.state === 'active');
  const isOther = name === SELF_SIGNED || (active !== undefined && active.upstream !== name);
  const kept =
    isOther && state.roots.some((root) => root.told) ? withTold(state, [], moment) : state;
  const record = keyManager === 'memory' ? undefined : createDiskRootRecord(dataDir).read();
  if (record?.trustDomain !== trustDomain) return kept;
  const longestMs = Math.max(record.longestTtlMs, x509SvidTtlMs, state.longestTtlMs);
  const roots = record.roots.map(({ der, sinceMs, untilMs }) => {
    const certificate = readOneCertificate(der);
    const lastMs = untilMs ?? latestMs + newRootDelayMs + longestMs;
    return { certificate, sinceMs, untilMs: Math.min(lastMs, certificate.validity.notAfterMs) };
  });
  const living = roots.filter(({ untilMs }) => untilMs > nowMs);
  const taken = {
    ...withRootsBefore({ ...kept, longestTtlMs: longestMs }, living, moment),
    // Above both: whoever followed one of them sees the number rise.
    bundleSequence: Math.max(state.bundleSequence, record.bundleSequence) + 1,
    writtenMs: latestMs,
  };
  journal.write(taken);
  removeRecord(rootRecordPath(dataDir));
  return taken;
}

function removeRecord(path: string): void {
  try {
    unlinkSync(path);
  } catch (thrown) {
    if (systemCode(thrown) === 'ENOENT') return;
    throw new IdentityError('ERR_DISK', `cannot remove ${path}`, { cause: thrown });
  }
}
