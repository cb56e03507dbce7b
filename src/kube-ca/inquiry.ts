import { abortReason, type Clock } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';

/** One order, from its first question to its answer or its deadline. */
export interface Inquiry {
  /** Aborted at the deadline, or by who waits. */
  readonly signal: AbortSignal;
  /** What is waited for now; said when the deadline comes. */
  readonly waits: (why: string) => void;
}

export interface InquiryTerms {
  /** Begins each message. */
  readonly name: string;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Rejects with `ERR_ISSUER` that says what was answered, or with the reason of who has aborted. */
export async function inquire<T>(
  { name, timeoutMs, clock, signal }: InquiryTerms,
  work: (inquiry: Inquiry) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const deadline = new AbortController();
  let waitsFor = 'the API server has not answered';
  const timer = clock.after(timeoutMs, () => {
    deadline.abort(new IdentityError('ERR_ISSUER', 'the deadline is over'));
  });
  try {
    return await work({
      signal: AbortSignal.any([signal, deadline.signal]),
      waits: (why) => void (waitsFor = why),
    });
  } catch (thrown) {
    if (signal.aborted) throw abortReason(signal);
    const why = deadline.signal.aborted
      ? `no CA within ${timeoutMs / 1000} s: ${waitsFor}`
      : toIdentityError(thrown, 'ERR_ISSUER').message;
    throw new IdentityError('ERR_ISSUER', `${name}: ${why}`, { cause: thrown });
  } finally {
    timer.cancel();
  }
}
