import { backoffDelay } from '../core/backoff.ts';
import { abortReason, sleep, type Clock } from '../core/clock.ts';
import { errorText, IdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { describe, isoTime, type Authority } from '../issuer/authority.ts';
import { buildCaCertificate } from '../issuer/ca-builder.ts';
import type { KeyType } from '../issuer/key-type.ts';
import type { KeyManager, SigningKey } from '../issuer/keys.ts';
import { createSerials, validityFrom } from '../issuer/profile.ts';
import { activated, changed, leftRoots, nextRootStep, type RootTimes } from './root-plan.ts';
import type { Kept, StateStore } from './secret-store.ts';
import { rootName, type Root, type SignerState } from './signer-state.ts';

/** What nodes' CAs are signed with, and who is cut off. */
export interface SigningRoots {
  /** The state as it is now, asked for anew. */
  fresh(options: { signal: AbortSignal }): Promise<SignerState>;
  /** The state as it was last heard of; undefined: nothing was heard. */
  current(): SignerState | undefined;
  /** What signs by that state; throws `ERR_ISSUER` when there is none now. */
  authority(state: SignerState): Promise<Authority>;
  /** All that nodes have to trust and to leave, by that state. */
  published(state: SignerState): PublishedRoots;
}

export interface PublishedRoots {
  readonly revision: number;
  /** DER of each. */
  readonly roots: readonly Buffer[];
  /** Subject key identifiers, hex, of our own among them. */
  readonly names: ReadonlySet<string>;
  /** Subject key identifiers, hex, of those below which nobody is to stay. */
  readonly left: readonly string[];
}

export interface OwnRootsConfig extends RootTimes {
  readonly trustDomain: TrustDomain;
  readonly caKeyType: KeyType;
}

export interface OwnRootsDeps {
  readonly store: StateStore;
  readonly keys: KeyManager;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Roots of our own, with their keys. */
export interface OwnRoots extends SigningRoots {
  /** Replaces roots when it is time, until the signal; rejects with its reason alone. */
  run(): Promise<never>;
  /** An object that a watch told of. */
  take(object: unknown): void;
  /** These were found where nodes read them. */
  seen(names: ReadonlySet<string>): void;
  /** Called when the state has changed; returns how to stop. */
  onChange(listener: () => void): () => void;
}

const RETRY = { baseMs: 500, maxMs: 30_000 };
/** A clock that is set is noticed within that time. */
const LOOK_MS = 60_000;

export function createOwnRoots(config: OwnRootsConfig, deps: OwnRootsDeps): OwnRoots {
  const { store, keys, clock, random, log, signal } = deps;
  const nextSerial = createSerials(random);
  const listeners = new Set<() => void>();
  const loaded = new Map<string, SigningKey>();
  const lost = new Set<string>();
  let kept: Kept | undefined;
  let published: ReadonlySet<string> = new Set();
  let wake = new AbortController();
  let isNews = false;
  /** Keys of which it is not known whether the state names them. */
  let unsure: readonly string[] = [];

  function put(next: Kept): void {
    const before = kept?.state.revision;
    kept = next;
    if (before === next.state.revision) return;
    hurry();
    for (const listener of listeners) listener();
  }

  function hurry(): void {
    isNews = true;
    wake.abort();
  }

  async function read(options: { signal: AbortSignal }): Promise<Kept> {
    const next = await store.read(options);
    put(next);
    return next;
  }

  async function load(root: Root): Promise<SigningKey> {
    const there = loaded.get(root.key);
    if (there) return there;
    const key = await keys.load(root.key, root.keyType);
    if (!key.spki.equals(root.certificate.spki)) {
      throw new IdentityError('ERR_KEY_STORE', `the key ${root.key} is not that of its root`);
    }
    loaded.set(root.key, key);
    lost.delete(root.key);
    return key;
  }

  /** Looks for the key of each that may have to sign. */
  async function loadAll({ roots }: SignerState): Promise<void> {
    for (const root of roots.filter(({ slot }) => slot !== 'old')) {
      try {
        await load(root);
      } catch (thrown) {
        if (!lost.has(root.key)) {
          log.error({ ...describe(root.certificate), reason: errorText(thrown) }, 'a key is lost');
        }
        lost.add(root.key);
      }
    }
    const named = new Set(roots.map(({ key }) => key));
    for (const id of loaded.keys()) if (!named.has(id)) loaded.delete(id);
  }

  async function make(before: Kept, slot: 'active' | 'prepared'): Promise<void> {
    const key = await keys.generate(config.caKeyType);
    const { trustDomain, rootTtlMs } = config;
    const validity = validityFrom(clock.now(), rootTtlMs, Infinity);
    const certificate = await buildCaCertificate({
      ...{ trustDomain, key, serial: nextSerial(), validity, issuer: undefined },
      nameConstraint: false,
    });
    const root: Root = {
      ...{ certificate, key: key.id, keyType: key.type, slot, isTainted: false },
      ...{ publishedAtMs: undefined, untilMs: undefined },
    };
    const next = changed(before.state, { roots: [...before.state.roots, root] });
    // An answer that is lost says nothing of what was written.
    unsure = [...unsure, key.id];
    if (await store.write(before, next, { signal })) {
      log.info({ ...describe(certificate), detail: slot }, 'made a root');
    }
  }

  /** Removes what was made here in vain: another replica was quicker. */
  async function tidy({ roots }: SignerState): Promise<void> {
    const vain = unsure.filter((id) => !roots.some(({ key }) => key === id));
    unsure = [];
    for (const id of vain) await keys.remove(id);
  }

  /** Does one thing if there is one to do; else until when there is none. */
  async function step(): Promise<number> {
    isNews = false;
    const before = await read({ signal });
    await tidy(before.state);
    await loadAll(before.state);
    const nowMs = clock.now();
    const stamped = withPublished(before.state, published, nowMs);
    if (stamped) return (await store.write(before, stamped, { signal }), nowMs);
    const due = nextRootStep(before.state, nowMs, config, ({ key }) => !lost.has(key));
    if (due.kind === 'wait') return due.untilMs;
    if (due.kind === 'make') await make(before, due.slot);
    else if (due.kind === 'activate') {
      if (await store.write(before, activated(before.state, nowMs, config), { signal })) {
        log.info(describe(due.root.certificate), 'this root signs now');
      }
    } else {
      const roots = before.state.roots.filter((root) => root !== due.root);
      if (await store.write(before, changed(before.state, { roots }), { signal })) {
        log.info(describe(due.root.certificate), 'dropped a root');
        await forgetKey(due.root);
      }
    }
    return nowMs;
  }

  async function forgetKey({ key }: Root): Promise<void> {
    loaded.delete(key);
    try {
      await keys.remove(key);
    } catch (thrown) {
      log.warn({ reason: errorText(thrown) }, 'the key of a root that was dropped stays');
    }
  }

  async function pause(ms: number): Promise<void> {
    if (isNews) return;
    wake = new AbortController();
    const either = AbortSignal.any([signal, wake.signal]);
    await sleep(clock, Math.max(ms, 0), { signal: either }).catch(() => undefined);
    if (signal.aborted) throw abortReason(signal);
  }

  return {
    async run() {
      for (let failures = 0; ;) {
        try {
          const untilMs = await step();
          failures = 0;
          await pause(Math.min(untilMs - clock.now(), LOOK_MS));
        } catch (thrown) {
          signal.throwIfAborted();
          if (failures === 0) {
            log.error(
              { reason: errorText(thrown) },
              'the roots cannot be looked after, tried again',
            );
          }
          await pause(backoffDelay(failures++, RETRY, random));
        }
      }
    },
    take(object) {
      try {
        const next = store.parse(object);
        // It may tell of what was before our own write, and says nothing of what is gone.
        if (next.state.revision > (kept?.state.revision ?? -1)) put(next);
        else if (next.state.revision < (kept?.state.revision ?? 0)) hurry();
      } catch (thrown) {
        log.error({ reason: errorText(thrown) }, 'the state of the signer was changed to no good');
      }
    },
    seen(names) {
      published = names;
      if (kept && withPublished(kept.state, names, 0)) hurry();
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    fresh: async (options) => (await read(options)).state,
    current: () => kept?.state,
    async authority(state) {
      const active = state.roots.find(({ slot }) => slot === 'active');
      if (!active) throw new IdentityError('ERR_ISSUER', 'there is no root yet');
      if (active.publishedAtMs === undefined) {
        throw new IdentityError('ERR_ISSUER', 'nodes do not find the root yet');
      }
      const { validity } = active.certificate;
      if (validity.notAfterMs - clock.now() < 1000) {
        const end = isoTime(validity.notAfterMs);
        throw new IdentityError(
          'ERR_ISSUER',
          `the root expired at ${end}, the next one is awaited`,
        );
      }
      const key = await load(active);
      // The root itself does not travel.
      return { certificate: active.certificate, key, chain: [], validity };
    },
    published: (state) => ({
      revision: state.revision,
      roots: state.roots.map(({ certificate }) => certificate.der),
      names: new Set(state.roots.map(rootName)),
      left: leftRoots(state).map(rootName),
    }),
  };
}

/** Undefined when no root was newly found where nodes read them. */
function withPublished(
  state: SignerState,
  names: ReadonlySet<string>,
  nowMs: number,
): SignerState | undefined {
  const isNew = (root: Root) => root.publishedAtMs === undefined && names.has(rootName(root));
  if (!state.roots.some(isNew)) return undefined;
  const roots = state.roots.map((root) => (isNew(root) ? { ...root, publishedAtMs: nowMs } : root));
  return changed(state, { roots });
}
