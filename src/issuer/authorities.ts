import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import {
  checkRootTime,
  createAuthorityMaker,
  describe,
  isValidAt,
  type AuthoritiesConfig,
  type Authority,
  type AuthorityMaker,
} from './authority.ts';
import type { JournalState } from './journal-text.ts';
import { loadRecorded, readRecorded, toEntry } from './recorded.ts';
import { beginJournal, type AuthorityStore } from './store.ts';

export interface AuthoritiesDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** The root and the CA below it, kept in the store; the one writer of the journal. */
export interface Authorities {
  readonly root: Authority;
  /** The issuing CA; undefined before the first, and when the one in the journal is out of date. */
  issuing(): Authority | undefined;
  /**
   * Puts a new issuing CA in place of the old. `ERR_DISK` and `ERR_KEY_STORE` leave the old one,
   * in memory and on disk; an aborted signal does too.
   */
  replaceIssuing(options: { signal: AbortSignal }): Promise<Authority>;
  readonly bundleSequence: number;
}

/**
 * Continues with the authorities of the store, or makes the first root when there never was one.
 * Throws `ERR_KEY_STORE` for anything in the store that does not fit together, `ERR_DISK`, and
 * `ERR_ISSUER` for a root whose time is not now. Never makes a second root.
 */
export async function openAuthorities(
  store: AuthorityStore,
  config: AuthoritiesConfig,
  deps: AuthoritiesDeps,
): Promise<Authorities> {
  const { clock, log } = deps;
  const { journal } = store;
  const make = createAuthorityMaker(store.keys, config, deps);
  let state = journal.read() ?? (await beginJournal(store, config.trustDomain, clock.now()));
  const recorded = readRecorded(state, config.trustDomain, journal.path);
  let root = recorded.root && (await loadRecorded(store, recorded.root));
  if (!root) {
    root = await make(undefined);
    const bundleSequence = state.bundleSequence + 1;
    state = { ...state, bundleSequence, authorities: [toEntry('root', root)] };
    journal.write(state);
    log.info(describe(root.certificate), 'made a self-signed root');
  }
  checkRootTime(root.certificate, clock.now());
  const timely =
    recorded.issuing && isValidAt(recorded.issuing.certificate.validity, clock.now())
      ? await loadRecorded(store, recorded.issuing)
      : undefined;
  const authorities = new StoredAuthorities({ store, make, state, root, issuing: timely, deps });
  await authorities.prune();
  return authorities;
}

interface Opened {
  readonly store: AuthorityStore;
  readonly make: AuthorityMaker;
  readonly state: JournalState;
  readonly root: Authority;
  readonly issuing: Authority | undefined;
  readonly deps: AuthoritiesDeps;
}

class StoredAuthorities implements Authorities {
  readonly root: Authority;
  readonly bundleSequence: number;
  readonly #store: AuthorityStore;
  readonly #make: AuthorityMaker;
  readonly #deps: AuthoritiesDeps;
  /** As the journal was last written. */
  #state: JournalState;
  #issuing: Authority | undefined;

  constructor({ store, make, state, root, issuing, deps }: Opened) {
    this.root = root;
    this.bundleSequence = state.bundleSequence;
    this.#store = store;
    this.#make = make;
    this.#deps = deps;
    this.#state = state;
    this.#issuing = issuing;
  }

  issuing(): Authority | undefined {
    return this.#issuing;
  }

  /** The key is on disk before the journal names it. */
  async replaceIssuing({ signal }: { signal: AbortSignal }): Promise<Authority> {
    const { clock, log } = this.#deps;
    checkRootTime(this.root.certificate, clock.now());
    try {
      const next = await this.#make(this.root);
      signal.throwIfAborted();
      const authorities = [toEntry('root', this.root), toEntry('issuing', next)];
      const state = { ...this.#state, authorities };
      this.#store.journal.write(state);
      this.#state = state;
      this.#issuing = next;
      log.info(describe(next.certificate), 'made an issuing CA');
      return next;
    } finally {
      await this.prune();
    }
  }

  /**
   * Removes keys of CAs that were replaced, and of attempts that were cut short before their
   * journal. The journal is asked as it is now: a write that failed late may have reached the disk.
   */
  async prune(): Promise<void> {
    const { keys, journal } = this.#store;
    try {
      const entries = [...this.#state.authorities, ...(journal.read()?.authorities ?? [])];
      const named = new Set(entries.map((entry) => entry.keyId));
      for (const id of await keys.ids()) if (!named.has(id)) await keys.remove(id);
    } catch (thrown) {
      this.#deps.log.warn({ err: thrown }, 'an old CA key could not be removed');
    }
  }
}
