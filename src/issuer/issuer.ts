import { IdentityError, toIdentityError } from '../core/errors.ts';
import type { TrustBundle } from '../identity/bundle.ts';
import type { X509Svid } from '../identity/svid.ts';
import type { Authority } from './authority.ts';
import type { AuthorityControl } from './authority-control.ts';
import {
  openAuthorities,
  type AuthoritiesConfig,
  type AuthoritiesDeps,
} from './authority-source.ts';
import type {
  AuthorityStatus,
  CrlSigner,
  RevokedAuthority,
  UpstreamReload,
  UpstreamStatus,
} from './ca-source.ts';
import { KEY_TYPES, type KeyType } from './key-type.ts';
import { createLeafKeySource } from './leaf-keys.ts';
import { generatePrivateKey, localSigningKey } from './keys.ts';
import { createMint, type CurrentCa, type Mint } from './mint.ts';
import type { MintRequest } from './profile.ts';
import { openUpstream, type OpenFolderWatch, type UpstreamConfig } from './upstream.ts';

/** What the issuer is told; lifetimes in milliseconds. */
export interface IssuerConfig extends AuthoritiesConfig {
  /** Of SVIDs. */
  readonly keyType: KeyType;
  /** Files that the issuing CA comes from, if it does. */
  readonly upstream?: UpstreamConfig | undefined;
}

export interface IssuerDeps extends AuthoritiesDeps {
  /** Default: the kernel's file notifications. */
  readonly watch?: OpenFolderWatch | undefined;
}

/** The signing authority of one trust domain. */
export interface Issuer {
  /**
   * Signs an SVID with a key of its own. `ERR_ISSUER`: it must not be signed, or there is no valid
   * CA now; `ERR_SHUTDOWN` after `close`; the signal's reason when aborted.
   */
  mint(request: MintRequest, options: { signal?: AbortSignal }): Promise<X509Svid>;
  /** The same object as long as nothing in it changes. */
  bundle(): TrustBundle;
  /** Called whenever `bundle` answers something else; returns how to stop. */
  onBundleChange(listener: () => void): () => void;
  authorities(): readonly AuthorityStatus[];
  /** Undefined where the root is our own. */
  upstream(): UpstreamStatus | undefined;
  /** Called after each look at files that changed; returns how to stop. */
  onReload(listener: (result: UpstreamReload) => void): () => void;
  /** What operators do to authorities by hand; undefined where they come from files. */
  control(): AuthorityControl | undefined;
  /** Called with the CAs whose SVIDs are to be signed anew at once; returns how to stop. */
  onTainted(listener: (authorityIds: readonly string[]) => void): () => void;
  /** Every root of our own and every CA that has not ended, with its key: for CRLs. */
  crlSigners(): readonly CrlSigner[];
  /** CAs that were revoked, below roots of our own. */
  revokedAuthorities(): readonly RevokedAuthority[];
  /**
   * A mint whose certificates are worthless: signed, in the name of the CA, with a key that is thrown
   * away. For going through the motions; undefined where a key takes too long to make for that.
   */
  rehearsal(): Promise<Mint | undefined>;
  /** What can be done by hand; undefined where the issuing CA comes from files. */
  control(): AuthorityControl | undefined;
  /** Called with authorities whose SVIDs are to be signed anew at once; returns how to stop. */
  onTainted(listener: (authorityIds: readonly string[]) => void): () => void;
  close(): void;
}

/**
 * Opens the issuer: continues with the authorities in `dataDir` or makes the first ones, and
 * resolves when it can sign. `ERR_KEY_STORE`, `ERR_DISK` and `ERR_ISSUER` say what is wrong with
 * the store; nothing in it is then changed.
 */
export async function openIssuer(config: IssuerConfig, deps: IssuerDeps): Promise<Issuer> {
  const { clock, random } = deps;
  const log = deps.log.child({ component: 'issuer' });
  const { upstream } = config;
  const ca = upstream
    ? await openUpstream(
        { ...config, upstream },
        { clock, log, watch: deps.watch, keys: deps.keys },
      )
    : await openAuthorities(config, { ...deps, log });
  const mintDeps = {
    clock,
    random,
    trustDomain: config.trustDomain,
    defaultTtlMs: config.x509SvidTtlMs,
    leafKeys: createLeafKeySource(config.keyType),
  };
  const mint = createMint({ ...mintDeps, ca });
  let closed = false;

  return {
    mint(request, options) {
      if (closed) {
        return Promise.reject(new IdentityError('ERR_SHUTDOWN', 'the issuer is closed'));
      }
      const wantedMs = request.ttlMs ?? config.x509SvidTtlMs;
      let ttlMs: number;
      try {
        ttlMs = ca.asked(wantedMs);
      } catch (thrown) {
        return Promise.reject(toIdentityError(thrown, 'ERR_DISK'));
      }
      return mint(ttlMs === wantedMs ? request : { ...request, ttlMs }, options);
    },
    bundle: () => ca.bundle(),
    onBundleChange: (listener) => ca.onBundleChange(listener),
    authorities: () => ca.authorities(),
    upstream: () => ca.upstream(),
    onReload: (listener) => ca.onReload(listener),
    control: () => ca.control(),
    onTainted: (listener) => ca.onTainted(listener),
    crlSigners: () => ca.crlSigners(),
    revokedAuthorities: () => ca.revokedAuthorities(),
    async rehearsal() {
      const nobody = await nobodyLike(await ca.usable({}), config.keyType);
      return nobody && createMint({ ...mintDeps, ca: nobody });
    },
    close() {
      closed = true;
      ca.close();
    },
  };
}

/** A CA that looks like `real` and has a key that nobody knows; undefined where making it takes long. */
async function nobodyLike(real: Authority, leafType: KeyType): Promise<CurrentCa | undefined> {
  const { key } = real;
  const kinds = [KEY_TYPES[leafType].kind, KEY_TYPES[key.type].kind];
  if (kinds.includes('rsa')) return undefined;
  const strange = localSigningKey(await generatePrivateKey(key.type), key.type);
  const nobody = { ...real, key: strange };
  return {
    current: () => nobody,
    usable: () => Promise.resolve(nobody),
  };
}
