import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { Timer } from '../core/clock.ts';
import { IdentityError, toIdentityError, type ErrorCode } from '../core/errors.ts';
import type { LogFields } from '../core/log.ts';
import type { Caller, PeerCredentials } from '../identity/caller.ts';
import type { Codec, Incoming } from './codec.ts';
import type { Connection, SdsContext, SdsReader, SdsSource } from './context.ts';
import type { DenialReason } from './metrics.ts';
import type { NodeInfo } from './node-info.ts';
import { everyName, survey, type Ready, type ResolveContext } from './resolve.ts';
import { bundleFormOf, type BundleForm } from './resources.ts';
import { printable, statusOf, summary } from './status.ts';
import { Subscription, type SentResource, type Subscribed } from './subscription.ts';

/** A stream as `credence status` shows it. */
export interface StreamSnapshot {
  readonly connection: string;
  readonly credentials: PeerCredentials;
  readonly kind: 'sotw' | 'delta';
  readonly node: NodeInfo | undefined;
  readonly openedAtMs: number;
  readonly unanswered: number;
  readonly resources: readonly Subscribed[];
  readonly waiting: readonly string[];
}

/**
 * One open stream: takes requests in, and whenever something it watches may have changed looks at
 * all its names again and writes what differs. One response is in flight at a time, so a reader
 * that is slow or stopped costs one response of memory and gets the newest state when it goes on.
 */
export class SecretStream<Request> implements SdsReader {
  readonly #call: ServerDuplexStream<Incoming<Request>, Buffer>;
  readonly #connection: Connection;
  readonly #codec: Codec<Request>;
  readonly #context: SdsContext;
  readonly #onClose: (stream: SecretStream<Request>) => void;
  readonly #subscription = new Subscription();
  readonly #openedAtMs: number;
  /** The same moment on a clock that counts less than milliseconds. */
  readonly #openedAt: number;
  #source: SdsSource | undefined;
  #attesting = false;
  #node: NodeInfo | undefined;
  #form: BundleForm;
  #waiting: readonly string[] = [];
  #deadline: { readonly code: WaitCode; readonly timer: Timer } | undefined;
  #writing = false;
  #stale = false;
  #ended = false;
  /** Whether a request has come. */
  #asked = false;
  #served = false;

  constructor(
    call: ServerDuplexStream<Incoming<Request>, Buffer>,
    connection: Connection,
    codec: Codec<Request>,
    context: SdsContext,
    onClose: (stream: SecretStream<Request>) => void,
  ) {
    this.#call = call;
    this.#connection = connection;
    this.#codec = codec;
    this.#context = context;
    this.#onClose = onClose;
    this.#form = bundleFormOf(undefined, context.config.spiffeCertValidation);
    this.#openedAtMs = context.clock.now();
    this.#openedAt = context.clock.monotonic();
    call.on('data', (incoming: Incoming<Request>) => this.#receive(incoming));
    call.on('end', () => this.#finish(() => call.end()));
    call.on('cancelled', () => this.#finish(() => undefined));
    call.on('close', () => this.#finish(() => undefined));
  }

  /** Looks at all names again; called for everything that may have changed one of them. */
  refresh(): void {
    const source = this.#source;
    if (!source || this.#ended) return;
    if (this.#writing) {
      this.#stale = true;
      return;
    }
    try {
      this.#look(source);
    } catch (thrown) {
      this.end(toIdentityError(thrown));
    }
  }

  /** The process has ended or is not the one that was attested. */
  gone(reason: IdentityError): void {
    this.end(reason);
  }

  /** Ends the stream with the status of an error. */
  end(error: IdentityError): void {
    if (this.#ended) return;
    const fields = { ...this.#fields(), code: error.code, reason: printable(error.message) };
    if (error.code === 'ERR_BUG') this.#context.log.error({ ...fields, err: error }, ENDED);
    else this.#context.log[isRoutine(error.code) ? 'debug' : 'info'](fields, ENDED);
    this.#context.metrics.ended(this.#codec.kind, error.code);
    this.#finish(() => this.#call.emit('error', statusOf(error)));
  }

  snapshot(): StreamSnapshot {
    return {
      connection: this.#connection.id,
      credentials: this.#connection.credentials,
      kind: this.#codec.kind,
      node: this.#node,
      openedAtMs: this.#openedAtMs,
      unanswered: this.#subscription.unanswered,
      resources: [...this.#subscription.resources()],
      waiting: this.#waiting,
    };
  }

  /** Nothing may be thrown into the event that brought the request: it would end the process. */
  #receive(incoming: Incoming<Request>): void {
    if (this.#ended) return;
    try {
      this.#take(incoming);
    } catch (thrown) {
      this.end(toIdentityError(thrown));
    }
  }

  #take(incoming: Incoming<Request>): void {
    if (incoming.kind === 'malformed') return this.end(incoming.error);
    const { admission } = this.#context;
    const unanswered = this.#subscription.unanswered;
    const { node, answer, changed, fault } = this.#codec.apply(
      incoming.request,
      this.#subscription,
    );
    if (fault) return this.end(fault);
    // Mere answers are as many as the responses, so they are not counted.
    const counts = changed || this.#subscription.unanswered === unanswered;
    const first = !this.#asked;
    this.#asked = true;
    if (counts) admission.request(this.#connection.credentials, this.#subscription.size, first);
    const form = this.#form;
    if (node) this.#adopt(node);
    if (answer) this.#note(answer);
    if (!this.#source) void this.#attest();
    else if (changed || form !== this.#form) this.refresh();
  }

  /** Only the first message of a stream has to carry the node: it is remembered. */
  #adopt(node: NodeInfo): void {
    this.#node = node;
    this.#form = bundleFormOf(node, this.#context.config.spiffeCertValidation);
  }

  #note(answer: { kind: 'current' | 'earlier' | 'stale'; error: string | undefined }): void {
    const { log, metrics } = this.#context;
    if (answer.kind === 'stale') {
      log.debug(this.#fields(), 'answer with an unknown nonce ignored');
    } else if (answer.error === undefined) {
      metrics.pushed(this.#codec.kind, 'ack');
    } else {
      metrics.pushed(this.#codec.kind, 'nack');
      log.warn({ ...this.#fields(), detail: printable(answer.error) }, 'proxy refused an update');
    }
  }

  async #attest(): Promise<void> {
    // Requests that arrive meanwhile are in the subscription already.
    if (this.#attesting) return;
    this.#attesting = true;
    this.#waiting = ['the process has not been attested yet'];
    this.#wait(this.#context.config.pendingTimeoutMs, 'ERR_NOT_READY');
    try {
      const caller = await this.#connection.caller({ signal: this.#context.closing });
      if (this.#ended) return;
      this.#attesting = false;
      this.#waitNoMore();
      this.#source = this.#context.attach(caller, this);
      this.refresh();
    } catch (thrown) {
      this.end(toIdentityError(thrown, 'ERR_ATTESTATION'));
    }
  }

  #look(source: SdsSource): void {
    if (!source.caller.isAlive()) {
      return this.end(new IdentityError('ERR_PEER_GONE', 'the process ended before a push'));
    }
    const { encoder, config } = this.#context;
    const context: ResolveContext = { source, encoder, aliases: config.aliases, form: this.#form };
    const subscription = this.#subscription;
    if (subscription.wildcard) subscription.replace(new Set(everyName(context)));

    const { used, ready, waiting, denied, refused } = survey(subscription.names(), context);
    if (refused !== undefined) return this.#deny(source.caller, 'unknown_name', [refused]);
    source.keep(used);
    const reasons = denied.map(({ reason }) => reason);
    const names = denied.map(({ name }) => name);
    if (denied.length > 0 && !this.#mayPark(source.caller, names)) {
      return this.#deny(source.caller, 'no_entry', reasons);
    }
    this.#await(waiting, reasons);
    const due = ready.filter(({ secret: { name, version } }) => subscription.isDue(name, version));
    if (due.length > 0) this.#write(due);
  }

  /** A name is refused loudly once; asked for again it is waited for. */
  #mayPark(caller: Caller, names: readonly string[]): boolean {
    // A stream that was served before lost its entitlement: that is said at once.
    if (this.#served || this.#context.config.deniedParkMs === 0) return false;
    const known = names.map((name) => this.#context.refusals.note(caller, name));
    return known.every(Boolean);
  }

  #deny(caller: Caller, why: DenialReason, reasons: readonly string[]): void {
    const { log, metrics } = this.#context;
    const reason = summary(reasons);
    metrics.denied(why);
    log.info({ ...this.#fields(), selectors: caller.selectors, reason }, 'secret refused');
    this.end(new IdentityError('ERR_DENIED', reason));
  }

  #await(waiting: readonly string[], parked: readonly string[]): void {
    this.#waiting = [...waiting, ...parked];
    const { pendingTimeoutMs, deniedParkMs } = this.#context.config;
    if (waiting.length > 0) this.#wait(pendingTimeoutMs, 'ERR_NOT_READY');
    else if (parked.length > 0) this.#wait(deniedParkMs, 'ERR_DENIED');
    else this.#waitNoMore();
  }

  /** Ends the stream after `ms` of waiting for the same thing, with what it then still waits for. */
  #wait(ms: number, code: WaitCode): void {
    if (this.#deadline?.code === code) return;
    this.#waitNoMore();
    const timer = this.#context.clock.after(ms, () => {
      const source = this.#source;
      if (code === 'ERR_DENIED' && source) this.#deny(source.caller, 'no_entry', this.#waiting);
      else this.end(new IdentityError(code, summary(this.#waiting)));
    });
    this.#deadline = { code, timer };
  }

  #waitNoMore(): void {
    this.#deadline?.timer.cancel();
    this.#deadline = undefined;
  }

  #write(due: readonly Ready[]): void {
    const { clock, metrics, nextNonce } = this.#context;
    const nonce = nextNonce();
    const now = clock.now();
    const response = this.#codec.encode(
      nonce,
      due.map(({ secret }) => secret),
    );
    // A renewal, not the first copy of a certificate that was renewed earlier.
    const renewed = due.find(
      ({ secret, held }) => held?.dueAtMs !== undefined && this.#subscription.wasSent(secret.name),
    );
    this.#subscription.sent(nonce, due.map(sentResource), now);
    this.#writing = true;
    this.#call.write(response, (error?: Error | null) => this.#written(error));
    metrics.pushed(this.#codec.kind, 'sent');
    if (renewed?.held?.dueAtMs !== undefined) metrics.rotated(now - renewed.held.dueAtMs);
    if (this.#served) return;
    this.#served = true;
    metrics.firstSecret(this.#context.clock.monotonic() - this.#openedAt);
  }

  #written(error?: Error | null): void {
    this.#writing = false;
    if (error) this.#context.metrics.pushed(this.#codec.kind, 'error');
    if (!this.#stale) return;
    this.#stale = false;
    this.refresh();
  }

  #finish(last: () => void): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#waitNoMore();
    this.#source?.close();
    this.#source = undefined;
    this.#onClose(this);
    last();
  }

  #fields(): LogFields {
    const { pid, uid } = this.#connection.credentials;
    return {
      peer_pid: pid,
      peer_uid: uid,
      resource_names: [...this.#subscription.names()].slice(0, MAX_LOGGED_NAMES).map(printable),
      ...(this.#node?.id === undefined ? {} : { node_id: printable(this.#node.id) }),
    };
  }
}

const ENDED = 'stream ended';
const MAX_LOGGED_NAMES = 16;

/** What a stream ends with when it waited in vain. */
type WaitCode = 'ERR_NOT_READY' | 'ERR_DENIED';

/** Ends that need no line: a refusal has one already, and at shutdown all streams end. */
function isRoutine(code: ErrorCode): boolean {
  return code === 'ERR_DENIED' || code === 'ERR_SHUTDOWN' || code === 'ERR_PEER_GONE';
}

function sentResource({ secret: { name, version }, held }: Ready): SentResource {
  if (!held) return { name, version, svid: undefined };
  const { serial, notAfterMs } = held.svid;
  return { name, version, svid: { serial, notAfterMs, renewAtMs: held.renewAtMs } };
}
