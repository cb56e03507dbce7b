import type { Logger } from '../core/log.ts';
import { isoTime } from '../issuer/authority.ts';
import type { DenialReason } from './judge.ts';

/** Whose request it was, as the API server says. */
export interface Asker {
  /** Name and uid of the CertificateSigningRequest. */
  readonly request: string;
  readonly requestUid: string;
  readonly username: string;
  readonly node: string;
  readonly podUid: string;
}

/** Every signature and every refusal, told of before anybody gets what came of it. */
export interface SigningAudit {
  signed(asker: Asker, ca: { serial: string; notAfterMs: number; authorityId: string }): void;
  denied(asker: Asker, why: { reason: DenialReason; message: string }): void;
}

/** In the log, where there is no other record. */
export function auditInLog(log: Logger): SigningAudit {
  const fields = ({ request, username, node, podUid }: Asker) => ({
    resource_names: [request],
    node_id: node,
    detail: `${username}, pod ${podUid}`,
  });
  return {
    signed(asker, { serial, notAfterMs, authorityId }) {
      const ca = { serial, not_after: isoTime(notAfterMs), revision: authorityId };
      log.info({ ...fields(asker), ...ca }, 'node CA signed');
    },
    denied(asker, { reason, message }) {
      log.info({ ...fields(asker), code: reason, reason: message }, 'node CA denied');
    },
  };
}
