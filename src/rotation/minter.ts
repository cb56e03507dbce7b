import type { Clock } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import type { Caller } from '../identity/caller.ts';
import type { SpiffeId } from '../identity/spiffe-id.ts';
import type { X509Svid } from '../identity/svid.ts';
import { isValidAt } from './renewal.ts';

/** What to mint; two requests with the same content are served by one SVID per holder. */
export interface SvidRequest {
  readonly id: SpiffeId;
  /** Undefined: the issuer's default. */
  readonly ttlMs: number | undefined;
  readonly dnsNames: readonly string[];
}

/** For whom something is signed; asked when it is, so that it tells what holds then. */
export interface Recipient {
  readonly caller: Caller;
  /** `file:line` of the entry that grants an identity; undefined when none does by now. */
  sourceOf(id: SpiffeId): string | undefined;
}

export interface MintOptions {
  readonly signal: AbortSignal;
  readonly recipient?: Recipient | undefined;
}

/** Signs SVIDs; the issuer, as rotation sees it, which owns their keys and wipes them. */
export interface SvidIssuer {
  mint(request: SvidRequest, options: MintOptions): Promise<X509Svid>;
}

/** An SVID that is what was asked for and valid, or why there is none; never rejects. */
export async function mintSvid(
  issuer: SvidIssuer,
  request: SvidRequest,
  clock: Pick<Clock, 'now'>,
  options: MintOptions,
): Promise<X509Svid | IdentityError> {
  try {
    const svid = await issuer.mint(request, options);
    if (svid.id === request.id && isValidAt(svid, clock.now())) return svid;
    svid.key.wipe();
    if (svid.id !== request.id) throw new IdentityError('ERR_BUG', 'an SVID for another ID');
    throw new IdentityError('ERR_ISSUER', 'the new SVID has expired already, or is not valid yet');
  } catch (thrown) {
    return toIdentityError(thrown, 'ERR_ISSUER');
  }
}

/** Abort controllers for mints; one of a finished mint serves the next. */
interface AbortPool {
  take(): AbortController;
  /** Only one that was not aborted, and whose signal nobody listens to any more. */
  giveBack(abort: AbortController): void;
}

/** A signal of its own costs a tenth of a mint. */
const SPARE_ABORTS = 32;

export function createAbortPool(): AbortPool {
  const spare: AbortController[] = [];
  return {
    take: () => spare.pop() ?? new AbortController(),
    giveBack(abort) {
      if (spare.length < SPARE_ABORTS) spare.push(abort);
    },
  };
}
