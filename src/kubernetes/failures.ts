import { backoffDelay } from '../core/backoff.ts';
import { errorText, systemCode } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import { ApiRefusal } from './api.ts';

/** What keeps failing is said once, and tried again more and more rarely. */
export interface Failures {
  /** Takes a failure; milliseconds until the next try. */
  add(thrown: unknown): number;
  /** It has worked. */
  over(): void;
}

const BACKOFF = { baseMs: 100, maxMs: 10_000 };
/** A right that is missing, or a collection, does not come within milliseconds. */
const REFUSED_MS = 10_000;

export interface FailuresDeps {
  readonly random: Random;
  readonly log: Logger;
}

/** Of what is asked for, in words. */
export interface Asked {
  /** As in a sentence: `the API server`. */
  readonly who: string;
  readonly path: string;
  /** The right that it takes, for who lacks it. */
  readonly right: string;
  /** What it means that there is no such thing. */
  readonly absent?: string;
}

export function createFailures(asked: Asked, { random, log }: FailuresDeps): Failures {
  const { who, path } = asked;
  let failures = 0;
  let said = 0;
  return {
    add(thrown) {
      const code = codeOf(thrown);
      const refused = refusalIn(thrown) !== undefined;
      // Once, and again when it is another refusal: it is tried for ever.
      if (failures === 0 || (refused && code !== said)) {
        said = code;
        const detail = meaning(asked, code, systemCode(thrown));
        const fields = { path, reason: reasonOf(thrown), ...(detail ? { detail } : {}) };
        log.warn(fields, `${who} cannot be followed`);
      }
      const wished = thrown instanceof ApiRefusal ? thrown.retryAfterMs : 0;
      const delayMs = backoffDelay(failures++, BACKOFF, random);
      return Math.max(delayMs, wished, refused ? REFUSED_MS : 0);
    },
    over() {
      if (failures > 0) log.info({ path }, `${who} answers again`);
      failures = said = 0;
    },
  };
}

/** Whether the answer is that there is no such thing, or not for us. */
export function refusalIn(thrown: unknown): 'absent' | 'forbidden' | undefined {
  const code = codeOf(thrown);
  if (code === 404) return 'absent';
  return code === 403 ? 'forbidden' : undefined;
}

const codeOf = (thrown: unknown): number => (thrown instanceof ApiRefusal ? thrown.code : 0);

/** Of a name with several addresses the error has a text for each and none of its own. */
export function reasonOf(thrown: unknown): string {
  return errorText(thrown) || (systemCode(thrown) ?? 'an error without a text');
}

const MEANINGS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused: nobody listens there',
  ECONNRESET: 'the connection was broken off',
  ENOTFOUND: 'there is no host of that name',
  EAI_AGAIN: 'the name cannot be looked up now',
  EHOSTUNREACH: 'there is no way to that host',
  ENETUNREACH: 'there is no way to that network',
  ETIMEDOUT: 'that host does not answer',
};

/** Undefined where the reason has to do. */
function meaning({ right, absent }: Asked, code: number, system = ''): string | undefined {
  if (code === 403) return `the service account lacks ${right}`;
  if (code === 404 && absent !== undefined) return absent;
  return code > 0 ? `code ${code}` : MEANINGS[system];
}
