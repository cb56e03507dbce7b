import { IdentityError } from '../core/errors.ts';
import { count, list, record, text, texts, type Fields } from './json-fields.ts';

/** What became of an entry that gives an identity, or nearly does. */
export interface VerdictView {
  readonly kind: string;
  readonly spiffeId: string;
  /** `file:line` of the entry. */
  readonly source: string;
  /** Of a shadowed entry: the place of the one that counts. */
  readonly shadowedBy: string;
  /** Why a placeholder has no value. */
  readonly reason: string;
  readonly missing: readonly string[];
  /** Why no process has what is missing. */
  readonly findings: readonly string[];
}

export interface IdentityView {
  readonly spiffeId: string;
  readonly priority: number | null;
  readonly source: string;
}

/** What `credence explain` shows of the document at `/explain`. */
export interface ExplainView {
  /** Undefined when selectors were asked about instead of a process. */
  readonly process:
    { readonly pid: number; readonly uid: number | null; readonly gid: number | null } | undefined;
  readonly selectors: readonly string[];
  /** The first one is the default. */
  readonly identities: readonly IdentityView[];
  readonly verdicts: readonly VerdictView[];
  /** Entries that miss something too, beyond those of the verdicts. */
  readonly missingNotShown: number;
}

/** Takes out of an answer what is shown; throws `ERR_UNREACHABLE` when it explains nothing. */
export function parseExplanation(document: unknown): ExplainView {
  const from = record(document);
  if (![from['selectors'], from['identities'], from['entries']].every(Array.isArray)) {
    const message = 'the daemon answered something else than an explanation';
    throw new IdentityError('ERR_UNREACHABLE', message);
  }
  const pid = count(from['pid']);
  return {
    process: pid === null ? undefined : { pid, uid: count(from['uid']), gid: count(from['gid']) },
    selectors: texts(from['selectors']),
    identities: list(from['identities']).map((identity) => ({
      spiffeId: text(identity['spiffe_id']) ?? '?',
      priority: count(identity['priority']),
      source: text(identity['source']) ?? '?',
    })),
    verdicts: list(from['entries']).map(parseVerdict),
    missingNotShown: count(from['missing_not_shown']) ?? 0,
  };
}

function parseVerdict(from: Fields): VerdictView {
  return {
    kind: text(from['verdict']) ?? '?',
    spiffeId: text(from['spiffe_id']) ?? '?',
    source: text(from['source']) ?? '?',
    shadowedBy: text(from['shadowed_by']) ?? '?',
    reason: text(from['reason']) ?? '?',
    missing: texts(from['missing']),
    findings: texts(from['findings']),
  };
}
