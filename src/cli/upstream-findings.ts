import type { Config } from '../config.ts';
import { formatDuration } from '../core/duration.ts';
import { toIdentityError, type IdentityError } from '../core/errors.ts';
import { isoTime } from '../issuer/authority.ts';
import { parseUpstream } from '../issuer/upstream-ca.ts';
import { FEW_LIFETIMES } from '../issuer/upstream-end.ts';
import { isOfThisUser, readUpstreamFiles, type UpstreamTexts } from '../issuer/upstream-files.ts';

/** What is wrong with the files of an issuing CA, and what is doubtful. */
export interface UpstreamFindings {
  readonly error?: IdentityError;
  readonly warnings: readonly { readonly message: string; readonly hint?: string | undefined }[];
}

/**
 * Looks at the files as a start would. Ones that this user may not read, or that belong to another one, are
 * no more than doubtful: the daemon may be that one.
 */
export function upstreamFindings({ issuer, trustDomain }: Config, nowMs: number): UpstreamFindings {
  const { upstream, x509SvidTtlMs } = issuer;
  if (!upstream) return { warnings: [] };
  let texts: UpstreamTexts;
  try {
    texts = readUpstreamFiles(upstream);
  } catch (thrown) {
    const error = toIdentityError(thrown);
    if (!isOfThisUser(error)) return { error, warnings: [] };
    const { message, hint } = error;
    return { warnings: [{ message: `${message}; credence run needs it`, hint }] };
  }
  try {
    const { authority, doubts } = parseUpstream(texts, upstream, { trustDomain, nowMs });
    const { notAfterMs } = authority.validity;
    const leftMs = notAfterMs - nowMs;
    const short =
      leftMs < FEW_LIFETIMES * x509SvidTtlMs
        ? [
            `${upstream.certFile}: the issuing CA ends in ${formatDuration(leftMs)} (${isoTime(notAfterMs)}), and SVIDs of ${formatDuration(x509SvidTtlMs)} do not outlive it`,
          ]
        : [];
    return { warnings: [...doubts, ...short].map((message) => ({ message })) };
  } catch (thrown) {
    return { error: toIdentityError(thrown), warnings: [] };
  }
}
