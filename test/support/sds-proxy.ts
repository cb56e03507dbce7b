import * as grpc from '@grpc/grpc-js';
import { decodeResponse, encodeRequest, SECRET_TYPE, type DecodedResponse } from './secrets.ts';

const SERVICE = '/envoy.service.secret.v3.SecretDiscoveryService/';
const asIs = (bytes: Buffer): Buffer => bytes;

/** A request in the field names of the protocol; the type is the right one unless told. */
export type RequestFields = Readonly<Record<string, unknown>>;

/** What a call ended with. */
export interface Ending {
  readonly code: string;
  readonly details: string;
}

/** One `StreamSecrets` or `DeltaSecrets` as a proxy holds it. */
export interface ProxyStream {
  readonly responses: readonly DecodedResponse[];
  /** A request with these names and without an answer in it. */
  ask(...names: string[]): void;
  send(request: RequestFields): void;
  /** Whatever bytes in the place of a request. */
  sendBytes(bytes: Uint8Array): void;
  /** Acknowledges the newest response; without names it asks for the ones it holds. */
  ack(...names: string[]): void;
  nack(text: string, ...names: string[]): void;
  /** The response that follows those `next` gave before; rejects when the stream ends instead. */
  next(): Promise<DecodedResponse>;
  ending(): Promise<Ending>;
  cancel(): void;
}

/** A proxy with one connection of its own. */
export interface Proxy extends Disposable {
  stream(method?: 'StreamSecrets' | 'DeltaSecrets'): ProxyStream;
  fetch(request: RequestFields): Promise<DecodedResponse>;
  close(): void;
}

/** Connects with the first call. */
export function connectProxy(socketPath: string): Proxy {
  const client = new grpc.Client(`unix:${socketPath}`, grpc.credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  });
  const calls: grpc.ClientDuplexStream<Buffer, Buffer>[] = [];
  const close = () => {
    // A client that is closed lets its calls go on.
    for (const call of calls) call.cancel();
    client.close();
  };
  return {
    stream: (method = 'StreamSecrets') => {
      const call = client.makeBidiStreamRequest(SERVICE + method, asIs, asIs);
      calls.push(call);
      return proxyStream(call);
    },
    fetch: (request) =>
      new Promise((resolve, reject) => {
        const bytes = encodeRequest({ type_url: SECRET_TYPE, ...request });
        client.makeUnaryRequest(`${SERVICE}FetchSecrets`, asIs, asIs, bytes, (error, answer) => {
          if (error) reject(new EndedError(endingOf(error)));
          else if (answer) resolve(decodeResponse(answer));
        });
      }),
    close,
    [Symbol.dispose]: close,
  };
}

/** A call that ended although something else was waited for. */
export class EndedError extends Error {
  readonly ending: Ending;

  constructor(ending: Ending) {
    super(`ended with ${ending.code}: ${ending.details}`);
    this.ending = ending;
  }
}

/** What a fetch that must fail ended with. */
export async function endingOfFetch(fetching: Promise<unknown>): Promise<Ending> {
  try {
    await fetching;
  } catch (thrown) {
    if (thrown instanceof EndedError) return thrown.ending;
    throw thrown;
  }
  throw new Error('the fetch was answered');
}

function endingOf({ code, details }: { code: grpc.status; details: string }): Ending {
  return { code: grpc.status[code], details };
}

function proxyStream(call: grpc.ClientDuplexStream<Buffer, Buffer>): ProxyStream {
  const responses: DecodedResponse[] = [];
  let taken = 0;
  let ended: Ending | undefined;
  let wake: (() => void)[] = [];
  const stir = () => {
    for (const resolve of wake) resolve();
    wake = [];
  };
  const stirred = () => new Promise<void>((resolve) => wake.push(resolve));
  call.on('data', (bytes: Buffer) => {
    responses.push(decodeResponse(bytes));
    stir();
  });
  call.on('error', () => undefined);
  call.on('status', (status: grpc.StatusObject) => {
    ended = endingOf(status);
    stir();
  });
  const send = (request: RequestFields) =>
    void call.write(encodeRequest({ type_url: SECRET_TYPE, ...request }));
  const answer = (names: readonly string[], more: RequestFields) => {
    const last = responses.at(-1);
    const resource_names = names.length > 0 ? names : last?.secrets.map(({ name }) => name);
    send({ response_nonce: last?.nonce, resource_names, ...more });
  };
  return {
    responses,
    send,
    sendBytes: (bytes) => void call.write(Buffer.from(bytes)),
    ask: (...names) => send({ resource_names: names }),
    ack: (...names) => answer(names, { version_info: responses.at(-1)?.version }),
    nack: (message, ...names) => answer(names, { error_detail: { code: 13, message } }),
    async next() {
      for (;;) {
        const response = responses[taken];
        if (response) {
          taken++;
          return response;
        }
        if (ended) throw new EndedError(ended);
        await stirred();
      }
    },
    async ending() {
      while (!ended) await stirred();
      return ended;
    },
    cancel: () => call.cancel(),
  };
}
