import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { Clock, Timer } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import type { LogFields, Logger } from '../core/log.ts';
import type { Caller, PeerCredentials } from '../identity/caller.ts';
import type { SpiffeId } from '../identity/spiffe-id.ts';
import type { Codec, Incoming } from './codec.ts';
import type { NodeInfo } from './messages.ts';
import type { SdsMetrics } from './metrics.ts';
import type { AliasNames } from './names.ts';
import type { Refusals } from './refusals.ts';
import {
  everyName,
  resolveName,
  type HeldSvid,
  type IdentitySource,
  type ResolveContext,
} from './resolve.ts';
import type { BundleForm, Secret, SecretEncoder } from './resources.ts';
import { printable, statusOf } from './status.ts';
import { Subscription, type SentResource, type Subscribed } from './subscription.ts';

/** The process behind a connection; the listener, as SDS sees it. */
export interface Connection {
  readonly id: string;
  readonly credentials: PeerCredentials;
  caller(options: { signal: AbortSignal }): Promise<Caller>;
}

/** Somebody who is told when what it reads may have changed. */
export interface SdsReader {
  refresh(): void;
  gone(reason: IdentityError): void;
}

/** Access to a process's identities while a stream is open. */
export interface SdsSource extends IdentitySource {
  readonly caller: Caller;
  close(): void;
}

export interface SdsConfig {
  readonly aliases: AliasNames;
  /** Bundles in the form of Envoy's SPIFFE validator, unless a proxy says otherwise. */
  readonly spiffeCertValidation: boolean;
  readonly pendingTimeoutMs: number;
  readonly deniedParkMs: number;
}

/** What all streams share. */
export interface SdsContext {
  readonly config: SdsConfig;
  readonly attach: (caller: Caller, reader: SdsReader) => SdsSource;
  readonly encoder: SecretEncoder;
  readonly refusals: Refusals;
  readonly clock: Clock;
  readonly metrics: SdsMetrics;
  readonly log: Logger;
  /** A nonce that no other response of this process carries. */
  readonly nextNonce: () => string;
}

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

/** Made once: an AbortError of its own for each stream costs more than the stream's end. */
const CANCELLED = new IdentityError('ERR_SHUTDOWN', 'the stream has ended');

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
  #source: SdsSource | undefined;
  /** Aborts attestation while it goes on. */
  #attesting: AbortController | undefined;
  #node: NodeInfo | undefined;
  #form: BundleForm;
  #waiting: readonly string[] = [];
  #deadline: { readonly atMs: number; readonly timer: Timer } | undefined;
  #writing = false;
  #stale = false;
  #ended = false;
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
    this.#form = context.config.spiffeCertValidation ? 'spiffe' : 'plain';
    this.#openedAtMs = context.clock.now();
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
    const level = error.code === 'ERR_BUG' ? 'error' : 'info';
    this.#context.log[level](
      { ...this.#fields(), code: error.code, reason: error.message, err: error },
      'stream ended',
    );
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

  #receive(incoming: Incoming<Request>): void {
    if (this.#ended) return;
    if (incoming.kind === 'malformed') return this.end(incoming.error);
    const { node, answer, changed, fault } = this.#codec.apply(
      incoming.request,
      this.#subscription,
    );
    if (fault) return this.end(fault);
    const form = this.#form;
    if (node) this.#adopt(node);
    if (answer) this.#note(answer);
    if (!this.#source) void this.#attest();
    else if (changed || form !== this.#form) this.refresh();
  }

  /** Only the first message of a stream has to carry the node: it is remembered. */
  #adopt(node: NodeInfo): void {
    this.#node = node;
    const off = node.disableSpiffeCertValidation ?? !this.#context.config.spiffeCertValidation;
    this.#form = off ? 'plain' : 'spiffe';
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
    this.#attesting = new AbortController();
    this.#wait(this.#context.config.pendingTimeoutMs, 'the process has not been attested yet');
    try {
      const caller = await this.#connection.caller({ signal: this.#attesting.signal });
      if (this.#ended) return;
      this.#attesting = undefined;
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

    const used = new Set<SpiffeId>();
    const due: Due[] = [];
    const waiting: string[] = [];
    const denied: { name: string; reason: string }[] = [];
    let dueAtMs: number | undefined;
    for (const name of subscription.names()) {
      const resolution = resolveName(name, used, context);
      if (resolution.kind === 'ready') {
        if (!subscription.isDue(name, resolution.secret.version)) continue;
        due.push(resolution);
        if (subscription.wasSent(name)) dueAtMs = resolution.held?.dueAtMs ?? dueAtMs;
      } else if (resolution.kind === 'waiting') {
        waiting.push(resolution.reason);
      } else if (resolution.kind === 'denied') {
        denied.push({ name, reason: resolution.reason });
      } else {
        return this.#deny(source.caller, [resolution.reason]);
      }
    }
    source.keep(used);
    if (denied.length > 0) {
      const names = denied.map(({ name }) => name);
      if (!this.#mayPark(source.caller, names)) {
        return this.#deny(
          source.caller,
          denied.map(({ reason }) => reason),
        );
      }
    }
    this.#await(
      waiting,
      denied.map(({ reason }) => reason),
    );
    if (due.length > 0) this.#write(due, dueAtMs);
  }

  #parked = false;
  /** A name is refused loudly once; asked for again it waits for an entry that may still come. */
  #mayPark(caller: Caller, names: readonly string[]): boolean {
    if (this.#parked) return true;
    // A stream that was served before lost its entitlement: that is said at once.
    if (this.#served || this.#context.config.deniedParkMs === 0) return false;
    const known = names.map((name) => this.#context.refusals.note(caller, name));
    this.#parked = known.every(Boolean);
    return this.#parked;
  }

  #deny(caller: Caller, reasons: readonly string[]): void {
    const { log, metrics } = this.#context;
    metrics.denied('no_entry');
    log.info(
      { ...this.#fields(), selectors: caller.selectors, reason: reasons.join('; ') },
      'secret refused',
    );
    this.end(new IdentityError('ERR_DENIED', reasons.join('; ')));
  }

  #await(waiting: readonly string[], parked: readonly string[]): void {
    this.#waiting = [...waiting, ...parked];
    const { pendingTimeoutMs, deniedParkMs } = this.#context.config;
    if (waiting.length > 0) this.#wait(pendingTimeoutMs, waiting.join('; '));
    else if (parked.length > 0) this.#wait(deniedParkMs, parked.join('; '), 'ERR_DENIED');
    else this.#waitNoMore();
    this.#parked &&= parked.length > 0;
  }

  #wait(ms: number, reason: string, code: 'ERR_NOT_READY' | 'ERR_DENIED' = 'ERR_NOT_READY'): void {
    if (this.#deadline) return;
    const { clock } = this.#context;
    const timer = clock.after(ms, () => this.end(new IdentityError(code, reason)));
    this.#deadline = { atMs: clock.now() + ms, timer };
  }

  #waitNoMore(): void {
    this.#deadline?.timer.cancel();
    this.#deadline = undefined;
  }

  #write(due: readonly Due[], dueAtMs: number | undefined): void {
    const { clock, metrics, nextNonce } = this.#context;
    const nonce = nextNonce();
    const now = clock.now();
    const response = this.#codec.encode(
      nonce,
      due.map(({ secret }) => secret),
    );
    this.#subscription.sent(nonce, due.map(sentResource), now);
    this.#writing = true;
    this.#call.write(response, () => this.#written());
    metrics.pushed(this.#codec.kind, 'sent');
    if (dueAtMs !== undefined) metrics.rotated(now - dueAtMs);
    if (this.#served) return;
    this.#served = true;
    metrics.firstSecret(now - this.#openedAtMs);
  }

  #written(): void {
    this.#writing = false;
    if (!this.#stale) return;
    this.#stale = false;
    this.refresh();
  }

  #finish(last: () => void): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#waitNoMore();
    this.#attesting?.abort(CANCELLED);
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
      resource_names: [...this.#subscription.names()].map(printable).slice(0, 16),
      ...(this.#node?.id === undefined ? {} : { node_id: printable(this.#node.id) }),
    };
  }
}

/** A secret that differs from what the stream holds. */
interface Due {
  readonly secret: Secret;
  readonly held: HeldSvid | undefined;
}

function sentResource({ secret: { name, version }, held }: Due): SentResource {
  if (!held) return { name, version, svid: undefined };
  const { serial, notAfterMs } = held.svid;
  return { name, version, svid: { serial, notAfterMs, renewAtMs: held.renewAtMs } };
}
