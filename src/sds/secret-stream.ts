import { Metadata, type ServerDuplexStream } from '@grpc/grpc-js';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import type { LogFields } from '../core/log.ts';
import type { Caller } from '../identity/caller.ts';
import { readBundle, type BundleReading } from './bundle-reading.ts';
import { requestOf, type Codec, type Incoming } from './codec.ts';
import type { Connection, SdsContext, SdsReader, SdsSource } from './context.ts';
import type { NodeInfo } from './node-info.ts';
import { Denials } from './denials.ts';
import { Patience, type Wait } from './patience.ts';
import { ATTESTATION } from './resolve.ts';
import { bundleFormOf, type BundleForm } from './resources.ts';
import { ResponseWriter } from './response-writer.ts';
import { statusOf, summary } from './status.ts';
import { viewOf, type StreamSnapshot } from './secret-view.ts';
import { logEnd, noteAnswer, streamFields } from './stream-log.ts';
import type { SentSvid, Subscribed } from './subscribed.ts';
import { Subscription, type PushState } from './subscription.ts';
import { judge, look, type Denial } from './verdict.ts';
import { watchNames, type WatchedNames } from './watched-names.ts';

/** Where a stream is in its life; it only moves down. */
type State =
  /** No request has come. */
  | { readonly kind: 'opened' }
  /** The process is being looked at; what is requested meanwhile is in the subscription. */
  | { readonly kind: 'attesting' }
  /** All names are looked at whenever something behind one of them may have changed. */
  | { readonly kind: 'serving'; readonly source: SdsSource }
  | { readonly kind: 'ended' };

/**
 * One open stream: takes requests in, and whenever something it watches may have changed looks at
 * all its names again and writes what differs.
 */
export class SecretStream<Request> implements SdsReader {
  readonly #call: ServerDuplexStream<Incoming<Request>, Buffer>;
  readonly #connection: Connection;
  readonly #codec: Codec<Request>;
  readonly #context: SdsContext;
  readonly #onClose: (stream: SecretStream<Request>) => void;
  readonly #subscription: Subscription;
  readonly #names: WatchedNames;
  readonly #bundle: BundleReading;
  readonly #patience: Patience;
  readonly #writer: ResponseWriter;
  readonly #denials: Denials;
  readonly #openedAtMs: number;
  #state: State = { kind: 'opened' };
  #node: NodeInfo | undefined;
  #form: BundleForm;
  /** Whether the proxy says that it knows what to do with an absence. */
  readonly #takesAbsence: boolean;
  /** A look waits for its turn. */
  #inLine = false;

  /** `onClose` is called once, when the stream has ended in any way. */
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
    this.#openedAtMs = context.clock.now();
    this.#takesAbsence = call.metadata.get('credence-absent').includes('removed');
    this.#subscription = new Subscription(this.#takesAbsence);
    this.#names = watchNames(this.#subscription, connection.credentials, context);
    this.#bundle = readBundle(this.#subscription, connection.id, {
      gauge: context.bundleGauge,
      aliases: context.config.aliases,
    });
    this.#form = bundleFormOf(undefined, context.config.spiffeCertValidation);
    this.#patience = new Patience(context.clock, context.config, (wait) => this.#expired(wait));
    this.#writer = new ResponseWriter(call, codec, this.#subscription, context, () =>
      this.refresh(),
    );
    this.#denials = new Denials(context, {
      fields: () => this.#fields(),
      wasSent: (name) => this.#subscription.wasSent(name),
    });
    call.on('data', (incoming: Incoming<Request>) => this.#receive(incoming));
    call.on('end', () => this.#finish(() => call.end()));
    call.on('cancelled', () => this.#finish(() => undefined));
    call.on('close', () => this.#finish(() => undefined));
  }

  /** Looks at all names again; called for everything that may have changed one of them. */
  refresh(): void {
    const state = this.#state;
    if (state.kind !== 'serving' || this.#writer.postpone()) return;
    try {
      this.#look(state.source);
      this.#noteBundle({ answered: false });
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
    if (this.#state.kind === 'ended') return;
    logEnd(this.#context.log, this.#fields(), error);
    this.#context.metrics.ended(this.#codec.kind, error.code);
    this.#finish(() => this.#call.emit('error', statusOf(error)));
  }

  /** The process that its proxy is. */
  get pid(): number {
    return this.#connection.credentials.pid;
  }

  /** The connection that it is on. */
  get connection(): string {
    return this.#connection.id;
  }

  /** What became of what was sent. */
  pushes(): PushState {
    return this.#subscription.pushes();
  }

  /** The certificates that its proxy uses or was sent last. */
  svids(): Iterable<SentSvid> {
    return this.#subscription.svids();
  }

  snapshot(): StreamSnapshot {
    const { refusals } = this.#context;
    const caller = this.#state.kind === 'serving' ? this.#state.source.caller : undefined;
    const view = (known: Subscribed) => viewOf(known, this.#patience.denies(known.name));
    return {
      connection: this.#connection.id,
      credentials: this.#connection.credentials,
      kind: this.#codec.kind,
      node: this.#node,
      openedAtMs: this.#openedAtMs,
      unanswered: this.#subscription.unanswered,
      resources: Array.from(this.#subscription.resources(), view),
      refusals: caller ? refusals.told(caller) : [],
      waiting: this.#patience.reasons,
    };
  }

  /** The one place where the state changes; a source that is left is closed, once. */
  #become(next: State): void {
    const before = this.#state;
    this.#state = before.kind === 'ended' ? before : next;
    if (before.kind === 'serving') before.source.close();
    else if (before.kind === 'ended' && next.kind === 'serving') next.source.close();
  }

  /** Nothing may be thrown into the event that brought the request: it would end the process. */
  #receive(incoming: Incoming<Request>): void {
    if (this.#state.kind === 'ended') return;
    try {
      this.#take(requestOf(incoming, this.#context.metrics));
    } catch (thrown) {
      this.end(toIdentityError(thrown));
    }
  }

  #take(request: Request): void {
    const subscription = this.#subscription;
    const unanswered = subscription.unanswered;
    const { node, answer, changed, fault } = this.#codec.apply(request, subscription);
    if (fault) throw fault;
    this.#names.count({ changed });
    const opens = this.#state.kind === 'opened';
    // Mere answers are as many as the responses, so they are not counted.
    if (changed || subscription.unanswered === unanswered) {
      this.#context.admission.request(this.#connection.credentials, subscription.size, opens);
    }
    // The first node counts: one that said something else in each answer would be served for ever.
    const speaks = this.#node === undefined && node !== undefined;
    if (speaks) this.#form = bundleFormOf(node, this.#context.config.spiffeCertValidation);
    this.#node ??= node;
    if (answer) noteAnswer(answer, this.#codec.kind, this.#context, () => this.#fields());
    if (opens) void this.#attest();
    else if (changed || speaks) this.#lookInTurn();
    this.#noteBundle({ answered: answer !== undefined });
  }

  #noteBundle({ answered }: { answered: boolean }): void {
    const { kind } = this.#state;
    if (kind !== 'ended') this.#bundle.note({ attesting: kind === 'attesting', answered });
  }

  /** However many requests come until it is its turn, they are answered by one look. */
  #lookInTurn(): void {
    if (this.#inLine) return;
    this.#inLine = true;
    this.#context.inTurn(this.#connection.credentials, () => {
      this.#inLine = false;
      // More is asked for: it is granted to what the process is now. The look sees whether it ended.
      if (this.#state.kind === 'serving') this.#state.source.caller.isUnchanged();
      this.refresh();
      return this.#state.kind !== 'ended';
    });
  }

  async #attest(): Promise<void> {
    this.#become({ kind: 'attesting' });
    this.#patience.wait({ code: 'ERR_NOT_READY', names: [ATTESTATION] });
    const wait = { begun: false };
    const beginning = setImmediate(() => {
      wait.begun = true;
      // A response needs them anyway, and there is time for them now.
      if (this.#state.kind === 'attesting') this.#call.sendMetadata(new Metadata());
    });
    try {
      const caller = await this.#connection.caller({ signal: this.#context.closing });
      if (wait.begun) this.#serveInTurn(caller);
      else this.#serve(caller);
    } catch (thrown) {
      this.end(toIdentityError(thrown, 'ERR_ATTESTATION'));
    } finally {
      clearImmediate(beginning);
    }
  }

  /** What many have waited for comes for all of them at once: who comes now must not wait for all. */
  #serveInTurn(caller: Caller): void {
    this.#context.inTurn(this.#connection.credentials, () => {
      if (this.#state.kind !== 'attesting') return false;
      try {
        this.#serve(caller);
      } catch (thrown) {
        this.end(toIdentityError(thrown, 'ERR_ATTESTATION'));
      }
      return true;
    });
  }

  /** Throws `ERR_PEER_GONE` when it has ended. */
  #serve(caller: Caller): void {
    if (this.#state.kind !== 'attesting') return;
    this.#become({ kind: 'serving', source: this.#context.attach(caller, this) });
    this.refresh();
  }

  #look(source: SdsSource): void {
    const { caller } = source;
    if (!caller.isAlive()) {
      return this.end(new IdentityError('ERR_PEER_GONE', 'the process ended before a push'));
    }
    const { encoder, config } = this.#context;
    const context = { source, encoder, aliases: config.aliases, form: this.#form };
    this.#subscription.recall((name) => this.#context.refusals.inUse(caller, name));
    const { seen, dropped } = look(this.#subscription, context);
    // Everything may be more than it was, and a proxy need not answer.
    this.#names.count({ changed: false });
    if (dropped.length > 0 && !this.#codec.saysAbsence) {
      const reasons = dropped.map((name) => `no policy entry for this process grants ${name} now`);
      return this.#deny(caller, { kind: 'deny', why: 'no_entry', names: dropped, reasons });
    }
    const verdict = judge(seen, {
      goesOn: this.#goesOn(),
      mayPark: (denied) => this.#denials.mayPark(caller, denied),
    });
    if (verdict.kind === 'deny') return this.#deny(caller, verdict);
    source.keep(seen.used);
    this.#patience.wait(verdict.wait);
    const absent = verdict.absent.filter(({ name }) => this.#subscription.isAbsenceDue(name));
    this.#denials.noteAbsent(caller, absent);
    this.#writer.write(
      verdict.ready,
      absent.map(({ name }) => name),
      dropped,
    );
  }

  /**
   * Whether the stream goes on without names that the caller may not have. One that is there for a
   * single name ends instead: on hearing of its absence Envoy would go live without a certificate.
   */
  #goesOn(): boolean {
    if (!this.#codec.saysAbsence) return false;
    const { size, wildcard } = this.#subscription;
    return this.#takesAbsence || size > 1 || wildcard;
  }

  #deny(caller: Caller, denial: Denial): void {
    this.end(new IdentityError('ERR_DENIED', this.#denials.note(caller, denial)));
  }

  #expired({ code, names }: Wait): void {
    // The reader has stood still and not been looked at since: what it waits for may be there.
    if (this.#writer.stale) return;
    const reasons = names.map(({ reason }) => reason);
    const state = this.#state;
    if (code === 'ERR_DENIED' && state.kind === 'serving') {
      const denied = names.map(({ name }) => name);
      this.#deny(state.source.caller, { kind: 'deny', why: 'no_entry', names: denied, reasons });
    } else {
      this.end(new IdentityError(code, summary(reasons)));
    }
  }

  #finish(last: () => void): void {
    if (this.#state.kind === 'ended') return;
    if (this.#state.kind === 'serving') this.#keepInUse(this.#state.source.caller);
    this.#become({ kind: 'ended' });
    this.#patience.wait(undefined);
    this.#writer.close();
    this.#names.release();
    this.#bundle.leave();
    this.#onClose(this);
    last();
  }

  /** A proxy goes on using a certificate whose stream has ended: who looks later should know. */
  #keepInUse(caller: Caller): void {
    for (const { name, inUse } of this.#subscription.resources()) {
      if (inUse?.svid) this.#context.refusals.keepInUse(caller, name, inUse);
    }
  }

  #fields(): LogFields {
    return streamFields(this.#connection.credentials, this.#subscription, this.#node);
  }
}
