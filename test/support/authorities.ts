import type { BundleReaders } from '../../src/issuer/bundle-readers.ts';
import { systemRandom } from '../../src/core/random.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { createCaCertifier } from '../../src/issuer/authority.ts';
import type { CaCertificate } from '../../src/issuer/ca-certificate.ts';
import type { CaState } from '../../src/issuer/ca-state.ts';
import { formatJournal, parseJournal } from '../../src/issuer/journal-text.ts';
import type { KeyManager, SigningKey } from '../../src/issuer/keys.ts';
import { createMemoryKeys } from '../../src/issuer/memory-keys.ts';
import type { AuthorityStore } from '../../src/issuer/store.ts';
import type {
  CaOrder,
  IssuedCa,
  ToldRoots,
  UpstreamAuthority,
} from '../../src/issuer/upstream-authority.ts';
import { IdentityError } from '../../src/core/errors.ts';
import type { FakeClock } from './fake-clock.ts';

export const TRUST_DOMAIN = parseTrustDomain('example.org');

/** A root elsewhere, with a key of its own. */
export interface ElsewhereRoot {
  readonly certificate: CaCertificate;
  readonly key: SigningKey;
}

/** An authority elsewhere: signs for real, and fails or lies on demand. */
export class FakeUpstream implements UpstreamAuthority {
  readonly name: string;
  root: ElsewhereRoot;
  asked = 0;
  /** Why it has nothing to give. */
  away: string | undefined;
  /** What becomes of an honest answer. */
  twist: (issued: IssuedCa, order: CaOrder) => IssuedCa | Promise<IssuedCa> = (issued) => issued;
  declare readonly roots?: ToldRoots;
  closed = false;
  readonly #clock: FakeClock;
  readonly #listeners = new Set<() => void>();
  #told: readonly Buffer[] | undefined;
  /** Roots that are to be left. */
  left: readonly string[] = [];

  constructor(
    clock: FakeClock,
    root: ElsewhereRoot,
    options: { name?: string; tells?: boolean } = {},
  ) {
    this.#clock = clock;
    this.root = root;
    this.name = options.name ?? 'fake https://ca.example';
    if (!options.tells) return;
    this.roots = {
      current: () => this.#told,
      tainted: () => this.left,
      onChange: (listener: () => void) => {
        this.#listeners.add(listener);
        return () => void this.#listeners.delete(listener);
      },
    };
  }

  tell(roots: readonly ElsewhereRoot[]): void {
    this.#told = roots.map(({ certificate }) => certificate.der);
    for (const listener of this.#listeners) listener();
  }

  async issue(order: CaOrder): Promise<IssuedCa> {
    this.asked++;
    if (this.away !== undefined) throw new IdentityError('ERR_ISSUER', this.away);
    const certify = createCaCertifier(TRUST_DOMAIN, false, {
      clock: this.#clock,
      random: systemRandom,
    });
    const { der } = await certify({ key: order.key, ttlMs: order.ttlMs, issuer: this.root });
    return this.twist({ chain: [der], roots: [this.root.certificate.der] }, order);
  }

  close(): void {
    this.closed = true;
  }
}

/** A root that lives that long from now. */
export async function makeRoot(clock: FakeClock, ttlMs: number): Promise<ElsewhereRoot> {
  const key = await createMemoryKeys().generate('ec-p256');
  const certify = createCaCertifier(TRUST_DOMAIN, false, { clock, random: systemRandom });
  return { certificate: await certify({ key, ttlMs, issuer: undefined }), key };
}

/** Proxies that acknowledge when told to. */
export class FakeReaders implements BundleReaders {
  readers = 3;
  behind = 0;
  readonly #listeners = new Set<() => void>();

  count() {
    return { readers: this.readers, behind: this.behind };
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  become(behind: number): void {
    this.behind = behind;
    for (const listener of [...this.#listeners]) listener();
  }
}

/** What a disk would hold of authorities, across any number of processes. */
export class FakeDisk {
  readonly keys = createMemoryKeys();
  text: string | undefined;
  #effects = 0;
  #dieAt = Infinity;
  #isDead = false;
  /** Whether a key was asked for of which nothing has become yet, which takes no time on any fake clock. */
  isBusy = false;
  /** Why nothing can be written; undefined: all is well. */
  full: string | undefined;

  /** From now on everything is done by another process, which dies at that effect; undefined: it does not. */
  process(dieAt = Infinity): AuthorityStore {
    this.#effects = 0;
    this.#dieAt = dieAt;
    this.#isDead = false;
    this.isBusy = false;
    return { keys: this.#keyManager(), journal: this.#journal() };
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  read(): CaState | undefined {
    return this.text === undefined ? undefined : parseJournal(this.text, 'disk');
  }

  #keyManager(): KeyManager {
    const { keys } = this;
    return {
      generate: async (type) => {
        this.#alive();
        this.isBusy = true;
        const key = await keys.generate(type);
        // Written by now, for whoever is there afterwards; or not at all.
        this.#effect(() => void keys.remove(key.id));
        this.#effect();
        return key;
      },
      load: (id, type) => keys.load(id, type),
      ids: () => {
        this.isBusy = false;
        return keys.ids();
      },
      remove: async (id) => {
        this.#effect();
        await keys.remove(id);
        this.#effect();
      },
    };
  }

  #journal(): AuthorityStore['journal'] {
    return {
      path: 'disk',
      read: () => this.read(),
      write: (state) => {
        this.isBusy = false;
        this.#effect();
        this.text = formatJournal(state);
        this.#effect();
      },
    };
  }

  #alive(): void {
    if (this.#isDead) throw new Error('killed');
    if (this.full !== undefined) throw new IdentityError('ERR_DISK', this.full);
  }

  /** Before and after each change of the disk. */
  #effect(undo?: () => void): void {
    if (this.full !== undefined) undo?.();
    this.#alive();
    if (++this.#effects < this.#dieAt) return;
    this.#isDead = true;
    undo?.();
    throw new Error('killed');
  }
}
