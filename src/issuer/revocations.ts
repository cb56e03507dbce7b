import { sleep, unlessAborted } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import { createListeners } from '../core/listeners.ts';
import type { TrustBundle } from '../identity/bundle.ts';
import { trustDomainOf, type SpiffeId } from '../identity/spiffe-id.ts';
import { MAX_CRL_ENTRIES } from './crl.ts';
import { createCrlKeeper, type CrlKeeper, type CrlKeeperDeps } from './crl-keeper.ts';
import { isListed } from './crl-plan.ts';
import { canSignCrls, type CrlSigner, type CrlSource } from './crl-signers.ts';
import { BACKDATE_MS } from './profile.ts';
import {
  openRevocationRecord,
  type RevocationRecord,
  type RevocationStore,
} from './revocation-record.ts';
import type { RevocationReason } from '../identity/revocation-reason.ts';
import type { Revocation } from './revocation-text.ts';
import { createSignedSerials, type SignedSerial } from './signed-serials.ts';

/** What is to be revoked: one certificate, or all that live of an identity. */
export type RevocationOrder = { readonly reason: RevocationReason } & (
  | { /** Lower-case hex, as it stands in the certificate's DER. */ readonly serial: string }
  | { readonly spiffeId: SpiffeId }
);

export interface RevocationOutcome {
  /** What is listed of it now, whether it was before or not. */
  readonly revoked: readonly Revocation[];
  /** Nothing is known of the serial: it is listed by every CA that may have signed it. */
  readonly unknown: boolean;
  /** There may be SVIDs of the identity that this process does not know of. */
  readonly incomplete: boolean;
  /** When the CRLs in force end, which is long after they are replaced. */
  readonly nextUpdateMs: number | undefined;
}

/** What an operator revokes, and what became of it. */
export interface RevocationControl {
  /**
   * Resolves when the CRLs are in the bundle. Rejects with `ERR_ISSUER` when it cannot be, or is
   * recorded and not published yet; with `ERR_DISK` when it was not recorded, and nothing is changed.
   */
  revoke(order: RevocationOrder, options: { signal: AbortSignal }): Promise<RevocationOutcome>;
  status(): RevocationStatus;
}

export interface RevocationStatus {
  /** How many certificates are listed. */
  readonly revoked: number;
  readonly nextUpdateMs: number | undefined;
  readonly failure: IdentityError | undefined;
}

/** A source of CAs whose bundle carries CRLs, as much as revocations need to know of it. */
export interface BundledSource extends CrlSource {
  bundle(): TrustBundle;
  onBundleChange(listener: () => void): () => void;
}

/** Revocations beside the CAs that sign. */
export interface Revocations extends RevocationControl {
  /** The source's bundle with the CRLs in force. The same object as long as nothing in it changes. */
  bundle(): TrustBundle;
  onBundleChange(listener: () => void): () => void;
  /** Called with the serials that have just been recorded, before the CRLs with them are published. */
  onRevoked(listener: (serials: ReadonlySet<string>) => void): () => void;
  /** An SVID was signed. */
  signed(svid: SignedSerial): void;
  readonly keeper: Pick<CrlKeeper, 'covers' | 'onChange'>;
  close(): void;
}

export interface RevocationsConfig {
  readonly crlTtlMs: number;
  readonly store: RevocationStore;
  /** Time for the holders' proxies to have what replaces it, before others refuse what is revoked. */
  readonly graceMs: number;
}

/**
 * Continues with what was revoked before; resolves when its CRLs are there, so that no bundle leaves
 * without. `ERR_KEY_STORE` for a record that cannot be trusted, `ERR_ISSUER` when no CRL can be made.
 */
export async function openRevocations(
  source: BundledSource,
  config: RevocationsConfig,
  deps: CrlKeeperDeps,
): Promise<Revocations> {
  const record = openRevocationRecord(config.store, source.bundle().trustDomain);
  const signing: CrlSource = {
    onSignersChange: (listener) => source.onSignersChange(listener),
    crlSigners: () => ownSigners(source),
    revokedAuthorities: () => source.revokedAuthorities(),
  };
  const keeper = createCrlKeeper(signing, record, config.crlTtlMs, deps);
  const listed = record.revoked().filter((one) => isListed(one, deps.clock.now()));
  if (listed.length > 0 && ownSigners(source).length === 0) {
    const count = listed.length;
    deps.log.warn(
      { count },
      'revoked certificates are not listed: the key of the root is not here',
    );
  }
  try {
    await keeper.update();
  } catch (thrown) {
    keeper.close();
    throw thrown;
  }
  return new BundledRevocations(source, record, keeper, config.graceMs, deps);
}

class BundledRevocations implements Revocations {
  readonly keeper: CrlKeeper;
  readonly #source: BundledSource;
  readonly #record: RevocationRecord;
  readonly #graceMs: number;
  readonly #deps: CrlKeeperDeps;
  readonly #signed;
  /** Else nobody ever asks what was signed. */
  readonly #isAble: boolean;
  readonly #openedAtMs: number;
  readonly #revoked;
  readonly #changes;
  readonly #stops: readonly (() => void)[];
  #bundle: TrustBundle | undefined;
  /** What it was made of. */
  #from: { readonly source: TrustBundle; readonly number: number } | undefined;

  constructor(
    source: BundledSource,
    record: RevocationRecord,
    keeper: CrlKeeper,
    graceMs: number,
    deps: CrlKeeperDeps,
  ) {
    this.#source = source;
    this.#record = record;
    this.keeper = keeper;
    this.#graceMs = graceMs;
    this.#deps = deps;
    this.#openedAtMs = deps.clock.now();
    this.#isAble = ownSigners(source).length > 0;
    this.#signed = createSignedSerials(() => deps.clock.now());
    const failed = (thrown: unknown) =>
      deps.log.error({ err: thrown }, 'a listener of revocations failed');
    this.#revoked = createListeners<ReadonlySet<string>>(failed);
    this.#changes = createListeners<undefined>(failed);
    // A failure is logged and tried again by the keeper.
    const look = () => void keeper.update().catch(() => undefined);
    this.#stops = [
      keeper.onChange(() => this.#changes.emit(undefined)),
      source.onSignersChange(look),
      source.onBundleChange(() => {
        look();
        this.#changes.emit(undefined);
      }),
    ];
  }

  bundle(): TrustBundle {
    const source = this.#source.bundle();
    const { crls, number } = this.keeper.published();
    if (this.#bundle && this.#from?.source === source && this.#from.number === number) {
      return this.#bundle;
    }
    this.#from = { source, number };
    const sequence = source.sequence + number;
    this.#bundle = { ...source, sequence, ...(crls.length > 0 && { crls }) };
    return this.#bundle;
  }

  onBundleChange(listener: () => void): () => void {
    return this.#changes.add(listener);
  }

  onRevoked(listener: (serials: ReadonlySet<string>) => void): () => void {
    return this.#revoked.add(listener);
  }

  signed(svid: SignedSerial): void {
    if (this.#isAble) this.#signed.add(svid);
  }

  status(): RevocationStatus {
    const now = this.#deps.clock.now();
    return {
      revoked: this.#record.revoked().filter((one) => isListed(one, now)).length,
      nextUpdateMs: this.keeper.nextUpdateMs(),
      failure: this.keeper.failure(),
    };
  }

  async revoke(
    order: RevocationOrder,
    { signal }: { signal: AbortSignal },
  ): Promise<RevocationOutcome> {
    signal.throwIfAborted();
    const signers = this.#signers();
    const found =
      'serial' in order ? this.#ofSerial(order.serial, signers) : this.#ofId(order.spiffeId);
    const revoked = this.#list(found, order.reason);
    this.#revoked.emit(new Set(revoked.map(({ serial }) => serial)));
    try {
      await unlessAborted(this.#publish(), signal);
    } catch (thrown) {
      if (signal.aborted) throw thrown;
      const { message } = toIdentityError(thrown, 'ERR_ISSUER');
      throw new IdentityError('ERR_ISSUER', `it is recorded and not published yet: ${message}`, {
        cause: thrown,
        hint: 'it is tried again until it works; the log says so',
      });
    }
    return {
      revoked,
      unknown: 'serial' in order && this.#signed.get(order.serial) === undefined,
      incomplete: 'spiffeId' in order && this.#isIncomplete(signers),
      nextUpdateMs: this.keeper.nextUpdateMs(),
    };
  }

  close(): void {
    for (const stop of this.#stops) stop();
    this.keeper.close();
  }

  async #publish(): Promise<void> {
    if (this.#graceMs > 0) await sleep(this.#deps.clock, this.#graceMs);
    await this.keeper.update();
  }

  #signers(): readonly CrlSigner[] {
    const signers = ownSigners(this.#source);
    if (signers.length > 0) return signers;
    throw new IdentityError(
      'ERR_ISSUER',
      'nothing can be revoked here: a CRL of the root is needed too, and its key is not here',
      {
        hint: 'credence ca taint replaces the issuing CA with all it has signed; credence ca revoke --node cuts a node off',
      },
    );
  }

  #ofSerial(serial: string, signers: readonly CrlSigner[]): readonly Found[] {
    if (signers.some(({ certificate }) => certificate.serial === serial)) {
      throw new IdentityError('ERR_ISSUER', `${serial} is a CA of this daemon, not an SVID`, {
        hint: 'credence ca taint and credence ca revoke are for CAs',
      });
    }
    const known = this.#signed.get(serial);
    if (known) return [foundOf(known)];
    const issuing = signers.filter(
      ({ certificate: { issuer, subject } }) => !issuer.equals(subject),
    );
    return issuing.map(({ certificate: { keyId, validity } }) => ({
      ...{ serial, spiffeId: undefined, issuerKeyId: keyId.toString('hex') },
      notAfterMs: validity.notAfterMs,
    }));
  }

  #ofId(spiffeId: SpiffeId): readonly Found[] {
    const { trustDomain } = this.#source.bundle();
    if (trustDomainOf(spiffeId) !== trustDomain) {
      throw new IdentityError(
        'ERR_ISSUER',
        `${spiffeId} is not in the trust domain ${trustDomain}`,
      );
    }
    const found = this.#signed.of(spiffeId).map(foundOf);
    if (found.length > 0) return found;
    throw new IdentityError(
      'ERR_ISSUER',
      `no SVID of ${spiffeId} is known that lives; known are those signed since ${new Date(this.#openedAtMs).toISOString()}`,
      { hint: 'credence revoke --serial takes any other' },
    );
  }

  /** Written before anything is done with it. */
  #list(found: readonly Found[], reason: RevocationReason): readonly Revocation[] {
    const nowMs = this.#deps.clock.now();
    const before = this.#record.revoked().filter((one) => isListed(one, nowMs));
    const known = new Map(before.map((one) => [keyOf(one), one]));
    const revoked = found.map(
      (one) => known.get(keyOf(one)) ?? { ...one, reason, revokedAtMs: nowMs },
    );
    const added = revoked.filter((one) => !known.has(keyOf(one)));
    if (before.length + added.length > MAX_CRL_ENTRIES) {
      throw new IdentityError(
        'ERR_ISSUER',
        `${before.length} certificates are revoked, with these ${added.length} it would be more than ${MAX_CRL_ENTRIES}`,
        { hint: 'credence ca taint replaces the issuing CA with all it has signed' },
      );
    }
    if (added.length > 0) this.#record.replace([...before, ...added]);
    for (const { serial, spiffeId } of added) {
      const fields = { serial, reason, ...(spiffeId && { spiffe_id: spiffeId }) };
      this.#deps.log.info(fields, 'certificate revoked');
    }
    return revoked;
  }

  /** SVIDs of a CA that is older than this process may be older than it too. */
  #isIncomplete(signers: readonly CrlSigner[]): boolean {
    if (this.#signed.forgot) return true;
    return signers.some(({ certificate: { issuer, subject, validity } }) => {
      const madeMs = validity.notBeforeMs + BACKDATE_MS;
      return !issuer.equals(subject) && madeMs + 1000 < this.#openedAtMs;
    });
  }
}

/** None where the key of a root is elsewhere: some CRLs without the others are worse than none. */
function ownSigners(source: BundledSource): readonly CrlSigner[] {
  const signers = source.crlSigners();
  return canSignCrls(signers, source.bundle()) ? signers : [];
}

type Found = Omit<Revocation, 'reason' | 'revokedAtMs'>;

function foundOf({ id, serial, authorityId, notAfterMs }: SignedSerial): Found {
  return { serial, spiffeId: id, issuerKeyId: authorityId, notAfterMs };
}

const keyOf = ({ issuerKeyId, serial }: Pick<Revocation, 'issuerKeyId' | 'serial'>) =>
  `${issuerKeyId} ${serial}`;
