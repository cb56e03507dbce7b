import { unlessAborted } from './core/clock.ts';
import { IdentityError } from './core/errors.ts';
import { createListeners } from './core/listeners.ts';
import type { Logger } from './core/log.ts';
import type { TrustBundle } from './identity/bundle.ts';
import type { X509Svid } from './identity/svid.ts';
import { isoTime } from './issuer/authority.ts';
import type { AuthorityStatus } from './issuer/ca-source.ts';
import type { Issuer } from './issuer/issuer.ts';
import type { MintRequest } from './issuer/profile.ts';
import type { SvidIssuer } from './rotation/minter.ts';

/** The bundle of the own trust domain. */
export interface OwnBundle {
  /** Undefined before the issuer is open. The same object as long as nothing in it changes. */
  current(): TrustBundle | undefined;
  /** Called whenever `current` answers something else; returns how to stop. */
  onChange(listener: () => void): () => void;
}

/** The issuer, as those see it who are there before it is open. */
export interface Signing {
  /** Waits for the issuer, then asks it. */
  readonly svids: SvidIssuer;
  readonly bundle: OwnBundle;
  issuer(): Issuer | undefined;
  /** The same for who needs one; throws `ERR_NOT_READY` before it is open. */
  opened(): Issuer;
  /** Why the open issuer can sign nothing; empty while it can, and before it is open. */
  obstacles(nowMs: number): readonly string[];
  /** The issuer is open: there is a bundle from now on, and there may be others later. */
  begin(issuer: Issuer): void;
  close(): void;
}

/**
 * The issuer is opened last, because opening it for the first time makes keys that peers come to
 * trust: a start that fails for another reason makes none. Until then who asks for an SVID waits.
 */
export function createSigning(log: Logger): Signing {
  const changes = createListeners<undefined>((thrown) =>
    log.error({ err: thrown }, 'a reader of the bundle failed'),
  );
  let issuer: Issuer | undefined;
  let arrive: (issuer: Issuer) => void;
  const arrival = new Promise<Issuer>((resolve) => (arrive = resolve));
  return {
    svids: svidIssuer((request, options) =>
      issuer
        ? issuer.mint(request, options)
        : unlessAborted(arrival, options.signal).then((opened) => opened.mint(request, options)),
    ),
    bundle: {
      current: () => issuer?.bundle(),
      onChange: (listener) => changes.add(listener),
    },
    issuer: () => issuer,
    opened() {
      if (issuer) return issuer;
      throw new IdentityError('ERR_NOT_READY', 'the issuer is not open yet');
    },
    obstacles(nowMs) {
      const authorities = issuer?.authorities() ?? [];
      const active = authorities.find(({ slot }) => slot === 'active');
      if (active && active.notAfterMs <= nowMs) {
        // One before it may still help out.
        const helps = authorities.some((one) => isHelping(one, nowMs));
        return helps ? [] : ['the issuing CA has expired'];
      }
      if (active) return [];
      const waiting = authorities.find(({ slot }) => slot === 'prepared');
      if (!waiting) return [];
      const { signsAtMs } = waiting;
      const until = signsAtMs === undefined ? '' : `, it signs from ${isoTime(signsAtMs)}`;
      return [`the root of the issuing CA is new${until}`];
    },
    begin(opened) {
      issuer = opened;
      arrive(opened);
      changes.emit(undefined);
      opened.onBundleChange(() => changes.emit(undefined));
    },
    close: () => issuer?.close(),
  };
}

const isHelping = ({ slot, level, tainted, notAfterMs, untilMs }: AuthorityStatus, nowMs: number) =>
  slot === 'kept' && level === 'issuing' && !tainted && Math.min(notAfterMs, untilMs ?? 0) > nowMs;

/** An issuer's mint, as rotation asks it: an entry without a lifetime gets the issuer's default. */
export function svidIssuer(
  mint: (request: MintRequest, options: { signal?: AbortSignal }) => Promise<X509Svid>,
): SvidIssuer {
  return {
    mint: ({ ttlMs, ...rest }, options) =>
      mint(ttlMs === undefined ? rest : { ...rest, ttlMs }, options),
  };
}
