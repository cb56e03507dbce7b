import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { Timer } from '../core/clock.ts';
import type { ResponseCodec } from './codec.ts';
import type { SdsContext } from './context.ts';
import type { Ready } from './resolve.ts';
import type { SentResource } from './subscribed.ts';
import type { Subscription } from './subscription.ts';

/** The server's end of a stream, as far as responses go. */
export type ResponseSink = Pick<ServerDuplexStream<unknown, Buffer>, 'write'>;

/**
 * Writes the responses of one stream, one at a time: a reader that is slow or stopped costs one
 * response of memory and gets the newest state when it goes on.
 */
export class ResponseWriter {
  readonly #sink: ResponseSink;
  readonly #codec: ResponseCodec;
  readonly #subscription: Subscription;
  readonly #context: Pick<SdsContext, 'clock' | 'metrics' | 'nextNonce'>;
  readonly #again: () => void;
  readonly #openedAt: number;
  /** The response that is being written: none, the newest state, or one that something outdated. */
  #inFlight: 'none' | 'newest' | 'stale' = 'none';
  #served = false;
  /** Set while a content is kept back because those before it were refused. */
  #retry: Timer | undefined;

  /**
   * `again` is called when a response has gone out that `postpone` was called during, and when what
   * was kept back may go.
   */
  constructor(
    sink: ResponseSink,
    codec: ResponseCodec,
    subscription: Subscription,
    context: Pick<SdsContext, 'clock' | 'metrics' | 'nextNonce'>,
    again: () => void,
  ) {
    this.#sink = sink;
    this.#codec = codec;
    this.#subscription = subscription;
    this.#context = context;
    this.#again = again;
    this.#openedAt = context.clock.monotonic();
  }

  /** Whether a response is in flight that is not the newest state. */
  get stale(): boolean {
    return this.#inFlight === 'stale';
  }

  /** Notes that there may be news; true when they have to wait for the response in flight. */
  postpone(): boolean {
    if (this.#inFlight === 'none') return false;
    this.#inFlight = 'stale';
    return true;
  }

  /**
   * Writes what the proxy neither has nor refused, and what it has yet to hear is absent; to be
   * called with no response in flight. `dropped` are names it does not watch any more by itself.
   */
  write(
    ready: readonly Ready[],
    absent: readonly string[] = [],
    dropped: readonly string[] = [],
  ): void {
    const subscription = this.#subscription;
    const { clock, metrics, nextNonce } = this.#context;
    const now = clock.now();
    const due = this.#due(ready, now);
    const { saysAbsence } = this.#codec;
    const removed = saysAbsence ? [...absent, ...dropped] : [];
    if (due.length === 0 && removed.length === 0) return;
    const nonce = nextNonce();
    const response = this.#codec.encode(
      nonce,
      due.map(({ secret }) => secret),
      removed,
    );
    // A renewal, not the first copy of a certificate that was renewed earlier.
    const renewed = due.find(
      ({ secret, held }) => held?.dueAtMs !== undefined && subscription.wasSent(secret.name),
    );
    subscription.sent(nonce, due.map(sentResource), now, removed);
    this.#inFlight = 'newest';
    this.#sink.write(response, (error?: Error | null) => this.#written(error));
    metrics.pushed(this.#codec.kind, 'sent');
    if (renewed?.held?.dueAtMs !== undefined) metrics.rotated(now - renewed.held.dueAtMs);
    if (this.#served || due.length === 0) return;
    this.#served = true;
    metrics.firstSecret(clock.monotonic() - this.#openedAt);
  }

  /** Lets go of its timer; nothing is written any more. */
  close(): void {
    this.#retry?.cancel();
    this.#retry = undefined;
  }

  /** What is to be written now; for what has to wait `again` is called in time. */
  #due(ready: readonly Ready[], nowMs: number): Ready[] {
    this.close();
    let soonestMs = Infinity;
    const due = ready.filter((one) => {
      const { name, version } = one.secret;
      if (!this.#subscription.isDue(name, version)) {
        if (one.ownBundle !== undefined) this.#subscription.unchanged(sentResource(one));
        return false;
      }
      const restMs = this.#subscription.restMs(name, nowMs);
      if (restMs > 0) soonestMs = Math.min(soonestMs, restMs);
      return restMs === 0;
    });
    if (soonestMs < Infinity) {
      this.#retry = this.#context.clock.after(soonestMs, () => this.#again());
    }
    return due;
  }

  #written(error?: Error | null): void {
    const { stale } = this;
    this.#inFlight = 'none';
    if (error) this.#context.metrics.pushed(this.#codec.kind, 'error');
    if (stale) this.#again();
  }
}

function sentResource({ secret: { name, version }, held, ownBundle }: Ready): SentResource {
  if (!held) return { name, version, svid: undefined, ownBundle };
  const { id, serial, authorityId, notBeforeMs, notAfterMs } = held.svid;
  return {
    name,
    version,
    svid: { id, serial, authorityId, notBeforeMs, notAfterMs, renewAtMs: held.renewAtMs },
  };
}
