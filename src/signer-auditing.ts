import type { Audit } from './audit/audit.ts';
import { isoTime } from './issuer/authority.ts';
import type { Asker, SigningAudit } from './signer/signing-log.ts';

/** The signer's signatures and refusals as records; one that cannot be recorded throws `ERR_DISK`. */
export function recordedSigning(audit: Audit): SigningAudit {
  return {
    signed(asker, { serial, notAfterMs, authorityId: authority }) {
      const not_after = isoTime(notAfterMs);
      audit.record('node_ca_signed', { ...askedBy(asker), serial, not_after, authority });
    },
    denied(asker, { reason: code, message: reason }) {
      audit.refuse('node_ca_denied', { ...askedBy(asker), code, reason: cut(reason) });
    },
  };
}

const askedBy = ({ request, requestUid, username, node, podUid }: Asker) => ({
  who: { username: cut(username), node: cut(node), pod: { uid: cut(podUid) } },
  request: cut(request),
  request_uid: cut(requestUid),
});

/** Whoever may ask chooses these. */
const MAX_CHARS = 256;

const cut = (text: string) =>
  text.length <= MAX_CHARS ? text : `${text.slice(0, MAX_CHARS - 3)}...`;
