import type { Clock, Timer } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import { NOBODY } from '../identity/caller.ts';
import { MAX_LINE_BYTES, seal, type Head } from './chain.ts';
import { createFileSink, type WriteText } from './file-sink.ts';
import { createLogSink } from './log-sink.ts';
import type { AuditMetrics } from './metrics.ts';
import { createRefusalLimit, type RefusalLimit } from './refusal-limit.ts';
import type { Sink } from './sink.ts';
import { asciiJson, whoJson, type Who } from './who.ts';

/** What a record says beside who and when: snake_case names, values that JSON has. */
export type AuditFields = Readonly<Record<string, unknown>>;

/** The record of what was signed and what was refused. Events are an open set of snake_case words. */
export interface Audit {
  /**
   * Records that something was signed. Throws `ERR_DISK` when that is not written, `ERR_SHUTDOWN`
   * after `close`: what was signed must not leave then.
   */
  record(event: string, fields: AuditFields, who?: Who): void;
  /**
   * Records a refusal, as long as its user is not refused too often; else the next record says how
   * many were left out. Those without a process count as one user. Never throws: what is refused is
   * refused.
   */
  refuse(event: string, fields: AuditFields, who?: Who): void;
  close(): void;
}

export interface AuditDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: AuditMetrics;
  /** What the first record says of who writes: version, node. */
  readonly writer: AuditFields;
  /** Takes a whole line of the log, for `-`. */
  readonly writeLine?: ((line: string) => void) | undefined;
  /** Default: the system's. */
  readonly write?: WriteText | undefined;
}

/** How long what was left out may wait for a record of the same user to tell of it. */
const UNTOLD_MS = 10_000;

/** Opens the audit log at a path, or `-`, the log; throws `ERR_DISK` when it cannot be written. */
export function openAudit(path: string, deps: AuditDeps): Audit {
  const log = deps.log.child({ component: 'audit' });
  return new ChainedAudit(openSink(path, { ...deps, log }), { ...deps, log });
}

function openSink(path: string, { clock, log, metrics, writeLine, write }: AuditDeps): Sink {
  if (path !== '-')
    return createFileSink(path, { clock, log, onFault: () => metrics.failed(), write });
  if (!writeLine) throw new TypeError('an audit in the log needs its lines');
  return createLogSink(writeLine);
}

class ChainedAudit implements Audit {
  readonly #sink: Sink;
  readonly #deps: AuditDeps;
  readonly #refusals: RefusalLimit;
  #head: Head;
  /** Records of signatures that could not be written since the last one that was. */
  #missing = 0;
  /** Why nothing could be written the last time; said once. */
  #fault: string | undefined;
  #closed = false;
  #untold: Timer | undefined;

  constructor(sink: Sink, deps: AuditDeps) {
    this.#sink = sink;
    this.#deps = deps;
    this.#head = sink.head;
    this.#refusals = createRefusalLimit(deps.clock);
    try {
      this.#write('started', deps.writer);
    } catch (thrown) {
      sink.close();
      throw thrown;
    }
  }

  record(event: string, fields: AuditFields, who?: Who): void {
    // Nothing is behind the descriptor any more, or something else.
    if (this.#closed) throw new IdentityError('ERR_SHUTDOWN', 'the audit log is closed');
    try {
      this.#write(event, fields, who);
    } catch (thrown) {
      this.#failed(thrown);
      this.#missing++;
      throw thrown;
    }
  }

  refuse(event: string, fields: AuditFields, who?: Who): void {
    if (this.#closed) return;
    const { uid } = who && 'credentials' in who ? who.credentials : (who ?? NOBODY);
    const leftOut = this.#refusals.take(uid);
    if (leftOut === undefined) return this.#tellLater();
    try {
      this.#write(event, leftOut > 0 ? { ...fields, left_out: leftOut } : fields, who);
    } catch (thrown) {
      this.#failed(thrown);
      this.#refusals.leaveOut(uid, leftOut + 1);
      this.#tellLater();
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#untold?.cancel();
    this.#tell();
    try {
      this.#write('stopped', {});
    } catch (thrown) {
      this.#failed(thrown);
    }
    this.#closed = true;
    this.#untold?.cancel();
    this.#sink.close();
  }

  #write(event: string, fields: AuditFields, who?: Who): void {
    const notice = this.#sink.look(this.#head, event === 'stopped');
    // What a start finds is said by its own record.
    if (notice && event === 'started') return this.#put(event, { ...fields, ...notice.fields });
    if (notice) this.#put(notice.event, notice.fields);
    this.#put(event, fields, who);
  }

  #put(event: string, fields: AuditFields, who?: Who): void {
    const time = new Date(this.#deps.clock.now()).toISOString();
    const missing = this.#missing > 0 ? `,"unrecorded":${this.#missing}` : '';
    const about = who ? `,"who":${whoJson(who)}` : '';
    const members = asciiJson(fields).slice(1, -1);
    const rest = members === '' ? '' : `,${members}`;
    const opening = this.#sink.open({ seq: this.#head.seq + 1, time, event });
    const { line, head } = seal(opening + about + missing + rest, this.#head);
    if (line.length > MAX_LINE_BYTES) {
      throw new IdentityError('ERR_BUG', `an audit record of ${line.length} bytes`);
    }
    this.#sink.append(line);
    this.#head = head;
    this.#missing = 0;
    const { log, metrics } = this.#deps;
    metrics.recorded(event);
    if (this.#fault !== undefined) log.info({}, 'audit records are written again');
    this.#fault = undefined;
  }

  #failed(thrown: unknown): void {
    const { code, message } = toIdentityError(thrown);
    const { log, metrics } = this.#deps;
    metrics.failed();
    if (this.#fault === message) return;
    this.#fault = message;
    log.error({ code, reason: message }, 'no audit record can be written, so nothing is signed');
  }

  #tellLater(): void {
    this.#untold ??= this.#deps.clock.after(UNTOLD_MS, () => {
      this.#untold = undefined;
      this.#tell();
    });
  }

  /** Nobody of these users was refused since; `uid` is missing where it is of too many users. */
  #tell(): void {
    for (const [uid, count] of this.#refusals.untold()) {
      try {
        this.#write('refusals_left_out', { uid, left_out: count });
      } catch (thrown) {
        this.#failed(thrown);
        this.#refusals.leaveOut(uid, count);
      }
    }
  }
}
