import { formatDuration } from '../core/duration.ts';
import type { CaAuthority, CaUpstream, CaView } from './ca-view.ts';
import { oneLine } from './printable.ts';

/** Digits of an identifier: as many as tell authorities apart at a glance. */
const SHORT = 12;

/** The authorities for people: a table, and below it what is waited for and who fails. */
export function caText(view: CaView, nowMs: number): string {
  const { trustDomain, sequence } = view;
  const rows = view.authorities.map((authority) => row(authority, view, nowMs));
  const lines = [
    `trust domain ${trustDomain}, bundle ${sequence === null ? 'not known yet' : `sequence ${sequence}`}`,
    ...table([['LEVEL', 'SLOT', 'ID', 'ENDS', 'NEXT', 'SUBJECT'], ...rows]),
    ...(view.authorities.length === 0 ? ['there is none yet'] : []),
    readersLine(view),
    ...upstreamLines(view.upstream, nowMs),
    ...(view.notByHand === null ? [] : [`by hand: nothing, ${view.notByHand}`]),
  ];
  return lines.map((line) => `${oneLine(line)}\n`).join('');
}

/** How many proxies read the bundle, and how many of them do not have it as it is. */
export function readersLine({ readers, behind }: Pick<CaView, 'readers' | 'behind'>): string {
  const all = readers === 1 ? '1 proxy' : `${readers ?? '?'} proxies`;
  if (behind === 0) return `bundle: acknowledged by all of ${all}`;
  return `bundle: ${behind ?? '?'} of ${all} ${behind === 1 ? 'has' : 'have'} not acknowledged it`;
}

function row(authority: CaAuthority, view: CaView, nowMs: number): string[] {
  const { level, slot, id, subject, notAfterMs } = authority;
  const marks = [authority.tainted ? 'TAINTED' : '', authority.revoked ? 'REVOKED' : ''];
  return [
    level,
    [slot, ...marks].filter(Boolean).join(', '),
    id === null ? '-' : id.slice(0, SHORT),
    endText(notAfterMs, nowMs),
    nextText(authority, view, nowMs),
    subject ?? '-',
  ];
}

function endText(notAfterMs: number | null, nowMs: number): string {
  if (notAfterMs === null) return '-';
  return notAfterMs > nowMs
    ? `in ${formatDuration(notAfterMs - nowMs)}`
    : `${formatDuration(nowMs - notAfterMs)} AGO`;
}

/** What is done with it next and when; what is due by now waits for something. */
function nextText(authority: CaAuthority, view: CaView, nowMs: number): string {
  const { nextStep, nextStepAtMs, waitsUntilMs, keptUntilMs } = authority;
  if (nextStep === null) {
    if (keptUntilMs === null) return '-';
    return keptUntilMs > nowMs ? `goes in ${formatDuration(keptUntilMs - nowMs)}` : 'goes';
  }
  if (nextStepAtMs !== null && nextStepAtMs > nowMs) {
    return `${nextStep} in ${formatDuration(nextStepAtMs - nowMs)}`;
  }
  const left = waitsUntilMs === null ? 0 : waitsUntilMs - nowMs;
  if (left <= 0) return `${nextStep} DUE`;
  return `${nextStep} waits for ${view.behind ?? '?'} of ${view.readers ?? '?'} proxies, at most ${formatDuration(left)}`;
}

function upstreamLines(upstream: CaUpstream | null, nowMs: number): string[] {
  if (upstream === null) return [];
  const { name, goodAtMs, lastError, lastErrorAtMs, nextTryAtMs } = upstream;
  const ago = (ms: number) => `${formatDuration(Math.max(nowMs - ms, 0))} ago`;
  const good = goodAtMs === null ? 'has not answered well yet' : `good ${ago(goodAtMs)}`;
  if (lastError === null) return [`upstream: ${name}, ${good}`];
  const failed = lastErrorAtMs === null ? '' : ` ${ago(lastErrorAtMs)}`;
  const next =
    nextTryAtMs === null
      ? ''
      : `, next try ${nextTryAtMs > nowMs ? `in ${formatDuration(nextTryAtMs - nowMs)}` : 'now'}`;
  return [`upstream: ${name}, ${good}`, `  FAILED${failed}${next}: ${lastError}`];
}

/** Columns as wide as their widest cell. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const cells of rows) {
    for (const [n, cell] of cells.entries()) widths[n] = Math.max(widths[n] ?? 0, cell.length);
  }
  return rows.map((cells) =>
    cells
      .map((cell, n) => cell.padEnd(widths[n] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
