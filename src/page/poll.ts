import { NOW_HEADER, type StatusAnswer } from '../ui/view.ts';
import { monotonic } from './time.ts';

/** What became of a question: an answer, the same as before, or nobody there. */
export type Polled =
  | { readonly kind: 'answer'; readonly answer: StatusAnswer; readonly nowMs: () => number }
  | { readonly kind: 'same'; readonly nowMs: () => number }
  | { readonly kind: 'refused' }
  | { readonly kind: 'gone' };

const TIMEOUT_MS = 10_000;

/** Asks for what has changed since it asked before; never rejects. */
export function createPoll(): () => Promise<Polled> {
  let etag: string | null = null;
  return async () => {
    try {
      const response = await fetch('status', {
        headers: etag === null ? {} : { 'if-none-match': etag },
        cache: 'no-store',
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      const nowMs = running(Number(response.headers.get(NOW_HEADER)));
      if (response.status === 304) return { kind: 'same', nowMs };
      if (response.status !== 200) return { kind: 'refused' };
      const answer = (await response.json()) as StatusAnswer;
      etag = response.headers.get('etag');
      return { kind: 'answer', answer, nowMs };
    } catch {
      return { kind: 'gone' };
    }
  };
}

/** The daemon's clock, which the browser's need not agree with. */
function running(nowMs: number): () => number {
  const at = monotonic();
  return () => nowMs + (monotonic() - at);
}
