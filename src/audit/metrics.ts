import { Counter, type Registry } from 'prom-client';

export interface AuditMetrics {
  recorded(event: string): void;
  failed(): void;
}

/** Of these there is a zero from the beginning on: an alert sees the first increase. */
const EVENTS = ['x509_svid', 'denied', 'attestation_failed', 'mint_failed', 'ca_signed'];
export const SIGNER_EVENTS = ['node_ca_signed', 'node_ca_denied'];

export function createAuditMetrics(registry: Registry, events = EVENTS): AuditMetrics {
  const registers = [registry];
  const records = new Counter({
    name: 'credence_audit_records_total',
    help: 'Audit records that were written, by event',
    labelNames: ['event'],
    registers,
  });
  for (const event of events) records.inc({ event }, 0);
  const failures = new Counter({
    name: 'credence_audit_failures_total',
    help: 'Audit records that could not be written or brought to the disk, and changes by others',
    registers,
  });
  return {
    recorded: (event) => records.inc({ event }),
    failed: () => failures.inc(),
  };
}
