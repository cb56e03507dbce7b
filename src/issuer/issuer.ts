import { IdentityError } from '../core/errors.ts';
import type { TrustBundle } from '../identity/bundle.ts';
import type { X509Svid } from '../identity/svid.ts';
import type { Authority } from './authority.ts';
import type { AuthorityControl } from './authority-control.ts';
import {
  openAuthorities,
  type AuthoritiesConfig,
  type AuthoritiesDeps,
} from './authority-source.ts';
import { NO_READERS } from './bundle-readers.ts';
import type { AuthorityStatus, CaSource, UpstreamReload, UpstreamStatus } from './ca-source.ts';
import { createCrlGate } from './crl-gate.ts';
import type { CrlKeeperDeps } from './crl-keeper.ts';
import { KEY_TYPES, type KeyType } from './key-type.ts';
import { createLeafKeySource } from './leaf-keys.ts';
import { generatePrivateKey, localSigningKey } from './keys.ts';
import { createMint, type CurrentCa, type Mint } from './mint.ts';
import type { MintRequest } from './profile.ts';
import { createDiskRevocations, createMemoryRevocations } from './revocation-record.ts';
import { openRevocations, type RevocationControl, type Revocations } from './revocations.ts';
import { openUpstream, type OpenFolderWatch, type UpstreamConfig } from './upstream.ts';

/** What the issuer is told; lifetimes in milliseconds. */
export interface IssuerConfig extends AuthoritiesConfig {
  /** Of SVIDs. */
  readonly keyType: KeyType;
  /** Of a CRL, once anything is revoked; it is replaced half-way. */
  readonly crlTtlMs: number;
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
  /** Takes back what was signed. */
  revocations(): RevocationControl;
  /** Called with serials of SVIDs that are revoked now, before others are told; returns how to stop. */
  onRevoked(listener: (serials: ReadonlySet<string>) => void): () => void;
  /** Undefined where the root is our own. */
  upstream(): UpstreamStatus | undefined;
  /** Called after each look at files that changed; returns how to stop. */
  onReload(listener: (result: UpstreamReload) => void): () => void;
  /** What operators do to authorities by hand; undefined where they come from files. */
  control(): AuthorityControl | undefined;
  /** Called with the CAs whose SVIDs are to be signed anew at once; returns how to stop. */
  onTainted(listener: (authorityIds: readonly string[]) => void): () => void;
  /**
   * A mint whose certificates are worthless: signed, in the name of the CA, with a key that is thrown
   * away. For going through the motions; undefined where a key takes too long to make for that.
   */
  rehearsal(): Promise<Mint | undefined>;
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
  const gate = createCrlGate(deps.readers ?? NO_READERS, (err) =>
    log.error({ err }, 'who waits for CRLs failed'),
  );
  const ca = upstream
    ? await openUpstream(
        { ...config, upstream },
        { clock, log, watch: deps.watch, keys: deps.keys },
      )
    : await openAuthorities(config, { ...deps, log, readers: gate.readers });
  const mintDeps = {
    clock,
    random,
    trustDomain: config.trustDomain,
    defaultTtlMs: config.x509SvidTtlMs,
    leafKeys: createLeafKeySource(config.keyType),
  };
  const mint = createMint({ ...mintDeps, ca });
  const revocations = await openRevocationsBeside(ca, config, { clock, random, log });
  gate.watch(revocations.keeper);
  let closed = false;

  return {
    async mint(request, options) {
      if (closed) throw new IdentityError('ERR_SHUTDOWN', 'the issuer is closed');
      const wantedMs = request.ttlMs ?? config.x509SvidTtlMs;
      const ttlMs = ca.asked(wantedMs);
      const svid = await mint(ttlMs === wantedMs ? request : { ...request, ttlMs }, options);
      revocations.signed(svid);
      return svid;
    },
    bundle: () => revocations.bundle(),
    onBundleChange: (listener) => revocations.onBundleChange(listener),
    authorities: () => ca.authorities(),
    revocations: () => revocations,
    onRevoked: (listener) => revocations.onRevoked(listener),
    upstream: () => ca.upstream(),
    onReload: (listener) => ca.onReload(listener),
    control: () => ca.control(),
    onTainted: (listener) => ca.onTainted(listener),
    async rehearsal() {
      const nobody = await nobodyLike(await ca.usable({}), config.keyType);
      return nobody && createMint({ ...mintDeps, ca: nobody });
    },
    close() {
      closed = true;
      revocations.close();
      ca.close();
    },
  };
}

/** A proxy has a new SVID within 20 ms, on a busy node within some more. */
const GRACE_MS = 200;

/** Closes the source when what was revoked before cannot be continued with. */
async function openRevocationsBeside(
  ca: CaSource,
  { keyManager, dataDir, crlTtlMs }: IssuerConfig,
  deps: CrlKeeperDeps,
): Promise<Revocations> {
  try {
    const store =
      keyManager === 'memory' ? createMemoryRevocations() : createDiskRevocations(dataDir);
    return await openRevocations(ca, { crlTtlMs, store, graceMs: GRACE_MS }, deps);
  } catch (thrown) {
    ca.close();
    throw thrown;
  }
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
