import type { Comparison, Pairing, Seen } from './compare-certs.ts';
import { oneLine } from './printable.ts';
import { stateText, timeLeft, wholeSecond } from './status-text.ts';

/** A comparison for people: where Envoy and the daemon differ, and how long that may go well. */
export function comparisonText(comparison: Comparison, envoy: string, nowMs: number): string {
  const { pid, nodeId, pairings, withoutRoots, sentRoots, empty, inSync } = comparison;
  const { emptyRoots, notSeen } = comparison;
  const lines = [
    `Envoy at ${envoy} is pid ${pid}${nodeId === null ? '' : `, node ${nodeId}`}`,
    ...pairings.flatMap((pairing) => pairingLines(pairing, nowMs)),
    ...withoutRoots.map((id) =>
      sentRoots
        ? `  ALARM ${id}: ca_cert is empty, this TLS context verifies no peer with our roots`
        : `  note: ${id}: ca_cert is empty and this Envoy was sent no roots: one-way TLS, or roots from elsewhere`,
    ),
    ...emptyRoots.map(
      (name) =>
        `  ALARM ${name}: stands where roots belong (validation_context_sds_secret_config) and holds none: NO peer is verified`,
    ),
    ...(notSeen === undefined
      ? []
      : [`  note: whether a certificate stands where roots belong is not to be seen: ${notSeen}`]),
    ...(empty === 0
      ? []
      : [
          `  ALARM ${empty} TLS ${empty === 1 ? 'context' : 'contexts'} without certificate: ca_cert is empty`,
        ]),
    inSync ? 'in sync: Envoy uses what it was sent' : 'NOT in sync',
  ];
  return lines.map((line) => `${oneLine(line)}\n`).join('');
}

function pairingLines(
  { spiffeId, verdict, sent, inUse, secret }: Pairing,
  nowMs: number,
): string[] {
  const seen = (all: readonly Seen[]) => all.map((one) => seenText(one, nowMs)).join(' and ');
  switch (verdict) {
    case 'withdrawn':
      return [
        inUse.length === 0
          ? `  ${spiffeId}: withdrawn, and Envoy has it no more`
          : `  ${spiffeId}: WITHDRAWN, Envoy still has ${seen(inUse)}`,
      ];
    case 'in_sync':
      return [`  ${spiffeId}: in sync, ${seen(inUse)}`];
    case 'differs':
      return [
        `  ${spiffeId}: DIFFERS, Envoy still has ${seen(inUse)}`,
        `    it was sent ${seen(sent)}: ${stateText(secret, nowMs)}`,
      ];
    case 'not_found':
      return [
        `  ${spiffeId}: NOT FOUND in /certs: not in use yet, or fetched on demand, which Envoy does not list`,
        `    it was sent ${seen(sent)}: ${stateText(secret, nowMs)}`,
      ];
  }
}

function seenText({ serial, notAfterMs }: Seen, nowMs: number): string {
  if (notAfterMs === undefined || Number.isNaN(notAfterMs)) return `serial ${serial}`;
  const time = wholeSecond(notAfterMs);
  const left = notAfterMs - nowMs;
  return left < 0
    ? `serial ${serial}, EXPIRED since ${time}`
    : `serial ${serial} until ${time} (${timeLeft(notAfterMs, nowMs)} left)`;
}

/** The same for programs, as `envoy_admin` of the document. */
export function comparisonDocument(comparison: Comparison, envoy: string): object {
  const seen = ({ serial, notAfterMs }: Seen) => ({
    serial,
    not_after:
      notAfterMs === undefined || Number.isNaN(notAfterMs)
        ? null
        : new Date(notAfterMs).toISOString(),
  });
  return {
    address: envoy,
    pid: comparison.pid,
    node_id: comparison.nodeId,
    in_sync: comparison.inSync,
    certificates: comparison.pairings.map(({ spiffeId, verdict, sent, inUse }) => ({
      spiffe_id: spiffeId,
      verdict,
      sent: sent.map(seen),
      in_use: inUse.map(seen),
    })),
    without_roots: comparison.withoutRoots,
    empty_roots: comparison.emptyRoots,
    contexts_without_anything: comparison.empty,
    sent_roots: comparison.sentRoots,
  };
}
