import * as grpc from '@grpc/grpc-js';
import { decodeDeltaResponse, encodeDeltaRequest } from './delta-proxy.ts';
import { contentOf, ProtocolStore, type Look } from './protocol-client-store.ts';
import type { Ending } from './sds-proxy.ts';
import { decodeResponse, encodeRequest, SECRET_TYPE, type DecodedSecret } from './secrets.ts';

const SERVICE = '/envoy.service.secret.v3.SecretDiscoveryService/';
const asIs = (bytes: Buffer): Buffer => bytes;

/** How a watch talks; `on-demand` is Delta as Envoy's certificate selectors use it. */
export type Protocol = 'sotw' | 'delta' | 'on-demand';

/** A connection's manners: whether the node is sent with each request, and what it says. */
export interface ClientOptions {
  readonly nodeAlways: boolean;
  readonly node: object;
  /** Judges each secret that arrives. */
  readonly look: Look;
}

/** A response that waits for its answer. */
interface Inbound {
  readonly nonce: string;
  readonly version: string;
  readonly secrets: readonly (DecodedSecret & { readonly version: string })[];
  readonly removed: readonly string[];
}

/** One connection of an Envoy, and what went wrong on it. */
export class ProtocolClient {
  readonly options: ClientOptions;
  /** Breaches of the protocol by the server, in words. */
  readonly faults: string[] = [];
  /** Rises with whatever is sent or arrives. */
  events = 0;
  readonly #path: string;
  #grpc: grpc.Client;

  constructor(socketPath: string, options: ClientOptions) {
    this.#path = socketPath;
    this.options = options;
    this.#grpc = this.#dial();
  }

  /** Leaves the connection, as a process that ends does; the next call opens another one. */
  redial(): void {
    this.#grpc.close();
    this.#grpc = this.#dial();
  }

  call(method: string, metadata: grpc.Metadata): grpc.ClientDuplexStream<Buffer, Buffer> {
    return this.#grpc.makeBidiStreamRequest(SERVICE + method, asIs, asIs, metadata);
  }

  /** What the server answers to one request for these names: its secrets or the status. */
  fetch(names: readonly string[]): Promise<readonly DecodedSecret[] | Ending> {
    const request = { type_url: SECRET_TYPE, resource_names: names, node: this.options.node };
    return new Promise((resolve) => {
      const bytes = encodeRequest(request);
      this.#grpc.makeUnaryRequest(`${SERVICE}FetchSecrets`, asIs, asIs, bytes, (error, answer) => {
        this.events++;
        if (answer) resolve(decodeResponse(answer).secrets);
        else resolve({ code: grpc.status[error?.code ?? 2] ?? '', details: error?.details ?? '' });
      });
    });
  }

  close(): void {
    this.#grpc.close();
  }

  #dial(): grpc.Client {
    return new grpc.Client(`unix:${this.#path}`, grpc.credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
  }
}

/**
 * What one SDS provider of an Envoy does: it watches names over a stream, opens another one when it
 * ends, and answers responses one by one and in order. Delta without names means everything.
 */
export class Watch {
  readonly protocol: Protocol;
  readonly names: Set<string>;
  readonly store: ProtocolStore;
  /** Answers wait for `answer` while this is set. */
  slow = false;
  ending: Ending | undefined;
  readonly #client: ProtocolClient;
  readonly #inbox: Inbound[] = [];
  #call: grpc.ClientDuplexStream<Buffer, Buffer> | undefined;
  #spoke = false;
  /** Of the newest response that was answered on this stream. */
  #nonce = '';
  #version = '';

  constructor(client: ProtocolClient, protocol: Protocol, names: readonly string[]) {
    this.#client = client;
    this.protocol = protocol;
    this.names = new Set(names);
    this.store = new ProtocolStore(client.faults, client.options.look);
    this.open();
  }

  get isOpen(): boolean {
    return this.#call !== undefined;
  }

  get unanswered(): number {
    return this.#inbox.length;
  }

  /** Opens a stream that states what was accepted before. Nothing is open for no names. */
  open(): void {
    if (this.#call || this.names.size === 0) return;
    const metadata = new grpc.Metadata();
    if (this.protocol === 'on-demand') metadata.set('credence-absent', 'removed');
    const method = this.protocol === 'sotw' ? 'StreamSecrets' : 'DeltaSecrets';
    const call = this.#client.call(method, metadata);
    this.#call = call;
    this.#spoke = false;
    this.#nonce = '';
    this.ending = undefined;
    this.store.streamOpened(this.names);
    call.on('error', () => undefined);
    call.on('data', (bytes: Buffer) => this.#receive(call, bytes));
    call.on('status', ({ code, details }: grpc.StatusObject) => {
      this.#client.events++;
      if (this.#call === call) this.#ended({ code: grpc.status[code], details });
    });
    if (this.protocol === 'sotw') this.#send({});
    else this.#send({ subscribe: [...this.names], initial: this.store.initialVersions() });
  }

  /** Leaves the stream without a word, as a listener that has drained does. */
  cancel(): void {
    const call = this.#call;
    this.#ended(undefined);
    call?.cancel();
  }

  /** Makes the names exactly these; with `withAnswer` the message answers what waits as well. */
  change(names: readonly string[], withAnswer = false): void {
    const subscribe = names.filter((name) => !this.names.has(name));
    const unsubscribe = [...this.names].filter((name) => !names.includes(name));
    this.#rename(subscribe, unsubscribe);
    if (!this.#call) return this.open();
    if (withAnswer && this.#inbox.length > 0) this.#answerFirst({ subscribe, unsubscribe });
    else if (this.protocol === 'sotw') this.#send({ nonce: this.#nonce });
    else this.#send({ subscribe, unsubscribe });
  }

  /** Subscribes again to what is subscribed already: an unsubscribe in between was left out. */
  resubscribe(): void {
    if (!this.#call || this.protocol === 'sotw') return;
    for (const name of this.names) this.store.asked(name);
    this.#send({ subscribe: [...this.names] });
  }

  /** Answers everything that waits. */
  answer(): void {
    while (this.#call && this.#inbox.length > 0) this.#answerFirst({});
  }

  #rename(subscribe: readonly string[], unsubscribe: readonly string[]): void {
    for (const name of unsubscribe) {
      this.names.delete(name);
      this.store.forget(name);
    }
    if (unsubscribe.includes('*')) this.store.forgetAllBut(this.names);
    for (const name of subscribe) {
      this.names.add(name);
      this.store.asked(name);
    }
  }

  #ended(ending: Ending | undefined): void {
    this.#call = undefined;
    this.ending = ending;
    this.#inbox.length = 0;
  }

  #receive(call: unknown, bytes: Buffer): void {
    this.#client.events++;
    if (this.#call !== call) return;
    const inbound = this.protocol === 'sotw' ? readSotw(bytes) : readDelta(bytes);
    if (!inbound.nonce || !inbound.version) this.#client.faults.push('no nonce or version');
    this.store.arrived(inbound.secrets, inbound.removed, this.names);
    this.#inbox.push(inbound);
    if (!this.slow) this.answer();
  }

  #answerFirst(change: { subscribe?: readonly string[]; unsubscribe?: readonly string[] }): void {
    const inbound = this.#inbox.shift();
    if (!inbound) return;
    const error = this.store.take(inbound.secrets, inbound.removed, this.names);
    this.#nonce = inbound.nonce;
    if (error === undefined) this.#version = inbound.version;
    const refused = error === undefined ? {} : { error };
    if (this.protocol === 'on-demand' && inbound.removed.length > 0) {
      // The handshakes that waited fail, and the selector drops its subscription (A7).
      const unsubscribe = inbound.removed.filter((name) => this.names.has(name));
      this.#rename([], unsubscribe);
      const all = [...(change.unsubscribe ?? []), ...unsubscribe];
      return this.#send({ nonce: this.#nonce, ...refused, ...change, unsubscribe: all });
    }
    this.#send({ nonce: this.#nonce, ...refused, ...change });
  }

  #send(fields: {
    nonce?: string;
    error?: string;
    subscribe?: readonly string[];
    unsubscribe?: readonly string[];
    initial?: Readonly<Record<string, string>>;
  }): void {
    this.#client.events++;
    const { nodeAlways, node } = this.#client.options;
    const withNode = nodeAlways || !this.#spoke ? { node } : {};
    this.#spoke = true;
    if (this.protocol !== 'sotw') {
      this.#call?.write(encodeDeltaRequest({ ...fields, ...withNode }));
      return;
    }
    const { nonce = '', error } = fields;
    const request = {
      type_url: SECRET_TYPE,
      version_info: this.#version,
      resource_names: [...this.names].filter((name) => name !== '*'),
      response_nonce: nonce,
      ...(error === undefined ? {} : { error_detail: { code: 13, message: error } }),
      ...withNode,
    };
    this.#call?.write(encodeRequest(request));
  }
}

function readSotw(bytes: Buffer): Inbound {
  const { nonce, version, secrets } = decodeResponse(bytes);
  // The version of a response with several is that of them all.
  const own = (secret: DecodedSecret) => (secrets.length === 1 ? version : contentOf(secret));
  return {
    ...{ nonce, version, removed: [] },
    secrets: secrets.map((secret) => ({ ...secret, version: own(secret) })),
  };
}

function readDelta(bytes: Buffer): Inbound {
  const { nonce, systemVersion, resources, removed } = decodeDeltaResponse(bytes);
  return {
    nonce,
    version: systemVersion,
    removed,
    secrets: resources.map(({ version, secret }) => ({ ...secret, version })),
  };
}
