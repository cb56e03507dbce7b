import type { LogFields } from '../core/log.ts';
import type { Caller } from '../identity/caller.ts';
import type { SdsContext } from './context.ts';
import type { Unserved } from './resolve.ts';
import { summary } from './status.ts';
import type { Absent, Denial } from './verdict.ts';

/** What denials need of the stream that they are about. */
interface Denied {
  /** What every line about the stream says. */
  fields(): LogFields;
  /** Whether any content of the name was sent on it. */
  wasSent(name: string): boolean;
}

/** What denials need of what all streams share. */
type DenialContext = Pick<
  SdsContext,
  'clock' | 'config' | 'log' | 'metrics' | 'onDenied' | 'refusals'
>;

/** How one stream refuses names: what is counted, logged, remembered and waited for. */
export class Denials {
  readonly #context: DenialContext;
  readonly #stream: Denied;

  constructor(context: DenialContext, stream: Denied) {
    this.#context = context;
    this.#stream = stream;
  }

  /**
   * A name is refused loudly once; asked for again by the same process it is waited for. That what
   * was sent on this stream is withdrawn is said at once, and counts as that one time.
   */
  mayPark(caller: Caller, denied: readonly Unserved[]): boolean {
    const { config, refusals } = this.#context;
    if (config.deniedParkMs === 0) return false;
    const knew = denied.map(({ name }) => refusals.note(caller, name));
    return knew.every(Boolean) && !denied.some(({ name }) => this.#stream.wasSent(name));
  }

  /** Notes a denial that ends the stream; its reason in one text. */
  note(caller: Caller, { why, names, reasons }: Denial): string {
    const { clock, metrics, refusals } = this.#context;
    for (const [n, name] of names.entries()) {
      refusals.tell(caller, { name, reason: reasons[n] ?? '', atMs: clock.now() });
    }
    metrics.denied(why);
    this.#context.onDenied?.(caller, why, names);
    const reason = summary(reasons);
    // A proxy asks again for ever, with an Envoy's back-off about every second.
    const known = names.map((name) => refusals.noteSaid(caller, name)).every(Boolean);
    const withdrawn = names.some((name) => this.#stream.wasSent(name));
    this.#say(known && !withdrawn ? 'debug' : 'info', caller, reason);
    return reason;
  }

  /** Notes names that the proxy has yet to hear are absent, on a stream that goes on. */
  noteAbsent(caller: Caller, absent: readonly Absent[]): void {
    if (absent.length === 0) return;
    const { metrics, refusals } = this.#context;
    for (const { why } of absent) metrics.denied(why);
    this.#witness(caller, absent);
    // Names that strangers choose are asked for again and again: what was withdrawn is news.
    const isOld = ({ name }: Absent) =>
      refusals.noteAbsent(caller, name) && !this.#stream.wasSent(name);
    const old = absent.filter(isOld);
    const level = old.length === absent.length ? 'debug' : 'info';
    this.#say(level, caller, summary(absent.map(({ reason }) => reason)));
  }

  #witness(caller: Caller, absent: readonly Absent[]): void {
    const { onDenied } = this.#context;
    if (!onDenied) return;
    for (const reason of ['no_entry', 'unknown_name'] as const) {
      const names = absent.filter(({ why }) => why === reason).map(({ name }) => name);
      if (names.length > 0) onDenied(caller, reason, names);
    }
  }

  #say(level: 'debug' | 'info', { selectors }: Caller, reason: string): void {
    this.#context.log[level]({ ...this.#stream.fields(), selectors, reason }, 'secret refused');
  }
}
