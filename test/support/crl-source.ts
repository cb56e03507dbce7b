import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import type { TrustBundle } from '../../src/identity/bundle.ts';
import { createListeners } from '../../src/core/listeners.ts';
import type { Authority } from '../../src/issuer/authority.ts';
import type { CrlSigner, RevokedAuthority } from '../../src/issuer/crl-signers.ts';
import type { SigningKey } from '../../src/issuer/keys.ts';
import type { KeyType } from '../../src/issuer/key-type.ts';
import { createMemoryKeys } from '../../src/issuer/memory-keys.ts';
import type { BundledSource } from '../../src/issuer/revocations.ts';
import { createAuthorityMaker } from './authority-maker.ts';
import type { issuerDeps } from './issuer.ts';
import { DAY_MS } from './issuer.ts';

const trustDomain = parseTrustDomain('example.org');

/** CAs of a trust domain that come and go as a test wants it; their keys can fail or take their time. */
export class FakeCas implements BundledSource {
  readonly root: Authority;
  signers: CrlSigner[];
  revoked: RevokedAuthority[] = [];
  sequence = 1000;
  /** Why keys do not sign. */
  fault: Error | undefined;
  /** How often any key has signed since. */
  signatures = 0;
  /** What signing waits for. */
  wait: Promise<void> | undefined;
  readonly #make;
  readonly #changes = createListeners<undefined>((thrown) => {
    throw thrown as Error;
  });
  readonly #bundleChanges = createListeners<undefined>((thrown) => {
    throw thrown as Error;
  });
  #bundle: TrustBundle | undefined;

  private constructor(root: Authority, make: (issuer?: Authority) => Promise<Authority>) {
    this.root = root;
    this.#make = make;
    this.signers = [this.signer(root)];
  }

  static async create(
    deps: ReturnType<typeof issuerDeps>,
    {
      caKeyType = 'ec-p256',
      caTtlMs = 10 * DAY_MS,
      rootTtlMs = 365 * DAY_MS,
    }: { caKeyType?: KeyType; caTtlMs?: number; rootTtlMs?: number } = {},
  ): Promise<FakeCas> {
    const config = { trustDomain, caKeyType, caTtlMs, rootTtlMs };
    const make = createAuthorityMaker(createMemoryKeys(), config, deps);
    return new FakeCas(await make(undefined), (issuer) => make(issuer));
  }

  /** A further CA below the root, or a root of its own; told of if it is to be. */
  async add({ root = false, tell = true } = {}): Promise<Authority> {
    const made = await this.#make(root ? undefined : this.root);
    this.signers = [...this.signers, this.signer(made)];
    if (tell) this.tell();
    return made;
  }

  tell(): void {
    this.#changes.emit(undefined);
  }

  changeBundle(): void {
    this.sequence++;
    this.#bundle = undefined;
    this.#bundleChanges.emit(undefined);
  }

  signer({ certificate, key }: Authority): CrlSigner {
    const guarded: SigningKey = {
      ...key,
      sign: async (data) => {
        this.signatures++;
        await this.wait;
        if (this.fault) throw this.fault;
        return key.sign(data);
      },
    };
    return { certificate, key: guarded };
  }

  crlSigners(): readonly CrlSigner[] {
    return this.signers;
  }

  revokedAuthorities(): readonly RevokedAuthority[] {
    return this.revoked;
  }

  onSignersChange(listener: () => void): () => void {
    return this.#changes.add(listener);
  }

  bundle(): TrustBundle {
    const { der, validity } = this.root.certificate;
    return (this.#bundle ??= {
      trustDomain,
      sequence: this.sequence,
      x509Authorities: [{ der, notAfterMs: validity.notAfterMs }],
    });
  }

  onBundleChange(listener: () => void): () => void {
    return this.#bundleChanges.add(listener);
  }
}
