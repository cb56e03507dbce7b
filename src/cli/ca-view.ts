import { IdentityError } from '../core/errors.ts';
import { count, list, record, text } from './json-fields.ts';
import { oneLine } from './printable.ts';

/** What `credence ca status` shows of the document at `/ca`; null where it says nothing. */
export interface CaView {
  readonly trustDomain: string;
  readonly sequence: number | null;
  readonly readers: number | null;
  readonly behind: number | null;
  /** Why nothing can be changed by hand. */
  readonly notByHand: string | null;
  readonly authorities: readonly CaAuthority[];
  readonly upstream: CaUpstream | null;
}

/** Times are wall clock of the daemon in milliseconds. */
export interface CaAuthority {
  readonly level: string;
  readonly slot: string;
  readonly id: string | null;
  readonly subject: string | null;
  readonly notAfterMs: number | null;
  readonly keptUntilMs: number | null;
  readonly tainted: boolean;
  readonly revoked: boolean;
  readonly nextStep: string | null;
  readonly nextStepAtMs: number | null;
  readonly waitsUntilMs: number | null;
}

export interface CaUpstream {
  readonly name: string;
  readonly goodAtMs: number | null;
  readonly lastError: string | null;
  readonly lastErrorAtMs: number | null;
  readonly nextTryAtMs: number | null;
}

/** What is longer is cut: an upstream's words may be a page. */
const MAX_TEXT = 1000;

/** Takes named fields and no others; `ERR_UNREACHABLE` when it is no such document at all. */
export function parseCa(document: unknown): CaView {
  const from = record(document);
  if (!Array.isArray(from['authorities'])) {
    throw new IdentityError(
      'ERR_UNREACHABLE',
      'the daemon answered something else than authorities',
    );
  }
  const readers = record(from['bundle_readers']);
  const upstream = from['upstream'] == null ? null : record(from['upstream']);
  return {
    trustDomain: words(from['trust_domain']) ?? '?',
    sequence: count(from['bundle_sequence']),
    readers: count(readers['readers']),
    behind: count(readers['behind']),
    notByHand: words(from['not_by_hand']),
    authorities: list(from['authorities']).map((authority) => ({
      level: words(authority['level']) ?? '?',
      slot: words(authority['state']) ?? words(authority['slot']) ?? '?',
      id: words(authority['id']),
      subject: words(authority['subject']),
      notAfterMs: time(authority['not_after']),
      keptUntilMs: time(authority['kept_until']),
      tainted: authority['tainted'] === true,
      revoked: authority['revoked'] === true,
      nextStep: words(authority['next_step']),
      nextStepAtMs: time(authority['next_step_at']),
      waitsUntilMs: time(authority['waits_until']),
    })),
    upstream: upstream && {
      name: words(upstream['name']) ?? '?',
      goodAtMs: time(upstream['good_at']),
      lastError: words(upstream['last_error']),
      lastErrorAtMs: time(upstream['last_error_at']),
      nextTryAtMs: time(upstream['next_try_at']),
    },
  };
}

function time(value: unknown): number | null {
  const ms = Date.parse(text(value) ?? '');
  return Number.isNaN(ms) ? null : ms;
}

function words(value: unknown): string | null {
  const all = text(value);
  if (all === null) return null;
  return oneLine(all.length > MAX_TEXT ? `${all.slice(0, MAX_TEXT)}…` : all);
}
