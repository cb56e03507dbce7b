import type { Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { TrustBundle } from '../identity/bundle.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { X509Svid } from '../identity/svid.ts';
import { openAuthorities, type Authorities } from './authorities.ts';
import type { Authority } from './authority.ts';
import { createCaRenewal } from './ca-renewal.ts';
import { KEY_TYPES, type KeyType } from './key-type.ts';
import { createLeafKeySource } from './leaf-keys.ts';
import { generatePrivateKey, localSigningKey } from './keys.ts';
import { createMint, type CurrentCa, type Mint } from './mint.ts';
import type { MintRequest } from './profile.ts';
import { openStore, type KeyManagerType } from './store.ts';

/** What the issuer is told; lifetimes in milliseconds. */
export interface IssuerConfig {
  readonly trustDomain: TrustDomain;
  /** Keys and journal; not touched with `keyManager: 'memory'`. */
  readonly dataDir: string;
  readonly keyType: KeyType;
  /** For authorities made from now on; existing ones stay. */
  readonly caKeyType: KeyType;
  readonly caTtlMs: number;
  readonly rootTtlMs: number;
  readonly x509SvidTtlMs: number;
  readonly keyManager: KeyManagerType;
}

export interface IssuerDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** A signing authority as operators see it; times are wall clock in milliseconds. */
interface AuthorityStatus {
  readonly slot: 'root' | 'active';
  readonly subject: string;
  /** Lower-case hex. */
  readonly serial: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly keyType: KeyType;
}

/** The signing authority of one trust domain. */
export interface Issuer {
  /**
   * Signs an SVID with a key of its own. `ERR_ISSUER`: it must not be signed, or there is no valid
   * CA now; `ERR_SHUTDOWN` after `close`; the signal's reason when aborted.
   */
  mint(request: MintRequest, options: { signal?: AbortSignal }): Promise<X509Svid>;
  /** Changes with the root, of which an issuer has one for its whole life: always the same object. */
  bundle(): TrustBundle;
  authorities(): readonly AuthorityStatus[];
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
  const inner = { clock, random, log };
  const store = openStore(config.keyManager, config.dataDir);
  const authorities = await openAuthorities(store, config, inner);
  const ca = createCaRenewal(authorities, config.caTtlMs, inner);
  try {
    await ca.usable({});
  } catch (thrown) {
    ca.close();
    throw thrown;
  }
  const mintDeps = {
    clock,
    random,
    trustDomain: config.trustDomain,
    defaultTtlMs: config.x509SvidTtlMs,
    leafKeys: createLeafKeySource(config.keyType),
  };
  const mint = createMint({ ...mintDeps, ca });
  const bundle = bundleOf(authorities, config.trustDomain);
  let closed = false;

  return {
    mint(request, options) {
      if (!closed) return mint(request, options);
      return Promise.reject(new IdentityError('ERR_SHUTDOWN', 'the issuer is closed'));
    },
    bundle: () => bundle,
    authorities: () => {
      const issuing = authorities.issuing();
      const root = statusOf('root', authorities.root);
      return issuing ? [root, statusOf('active', issuing)] : [root];
    },
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
  const { certificate, key } = real;
  const kinds = [KEY_TYPES[leafType].kind, KEY_TYPES[key.type].kind];
  if (kinds.includes('rsa')) return undefined;
  const nobody = {
    certificate,
    key: localSigningKey(await generatePrivateKey(key.type), key.type),
  };
  return {
    current: () => nobody,
    usable: () => Promise.resolve(nobody),
  };
}

function bundleOf(authorities: Authorities, trustDomain: TrustDomain): TrustBundle {
  const { der, validity } = authorities.root.certificate;
  return {
    trustDomain,
    sequence: authorities.bundleSequence,
    x509Authorities: [{ der, notAfterMs: validity.notAfterMs }],
  };
}

function statusOf(slot: AuthorityStatus['slot'], { certificate, key }: Authority): AuthorityStatus {
  const { subjectText: subject, serial, validity } = certificate;
  return { slot, subject, serial, ...validity, keyType: key.type };
}
