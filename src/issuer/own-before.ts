import { join } from 'node:path';
import type { Logger } from '../core/log.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { isValidAt, type Authority } from './authority.ts';
import type { CaCertificate } from './ca-certificate.ts';
import { createDiskKeys } from './disk-keys.ts';
import { createDiskJournal } from './journal.ts';
import { loadRecorded, readRecorded } from './recorded.ts';

/** What this node trusted and signed with when its CA was its own. */
export interface OwnBefore {
  readonly root: CaCertificate;
  /** No SVID below that root lives longer, wall clock. */
  readonly untilMs: number;
  /** The CA below it, while it is valid; undefined without its key. */
  readonly authority: Authority | undefined;
}

/**
 * Reads it from the journal in `dataDir` and leaves that as it is. Undefined when there is none, or
 * nothing below its root can be valid any more, or it is of another trust domain. Throws
 * `ERR_KEY_STORE` for a journal that cannot be trusted.
 */
export async function readOwnBefore(
  dataDir: string,
  trustDomain: TrustDomain,
  { nowMs, log }: { nowMs: number; log: Logger },
): Promise<OwnBefore | undefined> {
  const journal = createDiskJournal(join(dataDir, 'journal.json'));
  const state = journal.read();
  if (state?.trustDomain !== trustDomain) return undefined;
  const { root, issuing } = readRecorded(state, trustDomain, journal.path);
  if (!root || !issuing) return undefined;
  const { validity } = issuing.certificate;
  // CAs before this one have ended before it, and what they signed with them.
  if (validity.notAfterMs <= nowMs) return undefined;
  const own = { root: root.certificate, untilMs: validity.notAfterMs };
  if (!isValidAt(validity, nowMs)) return { ...own, authority: undefined };
  try {
    const keys = createDiskKeys(join(dataDir, 'keys'));
    return { ...own, authority: await loadRecorded({ keys, journal }, issuing) };
  } catch (thrown) {
    log.warn({ err: thrown }, 'the CA that this node made itself cannot sign any more');
    return { ...own, authority: undefined };
  }
}
