import { IdentityError } from '../core/errors.ts';
import type { SdsMetrics } from './metrics.ts';
import type { NodeInfo } from './node-info.ts';
import type { Secret } from './resources.ts';
import { SECRET_TYPE_URL } from './secret-messages.ts';
import type { Answer, Subscription } from './subscription.ts';

/** What a request meant, after the subscription has taken it in. */
export interface Applied {
  readonly node: NodeInfo | undefined;
  /** What the nonce said, for a request that answers a response. */
  readonly answer: NonceAnswer | undefined;
  /** The names differ from before, or the stream opens with them: all are looked at again. */
  readonly changed: boolean;
  /** The request cannot be served at all. */
  readonly fault: IdentityError | undefined;
}

/** An answer to a response. */
export interface NonceAnswer {
  readonly kind: Answer;
  /** The proxy's words when it refused. */
  readonly error: string | undefined;
  /** What it refused. */
  readonly refused: readonly string[];
}

/** Takes the answer into the subscription. */
export function answerOf(
  subscription: Subscription,
  nonce: string,
  error: string | undefined,
): NonceAnswer {
  const refused = error === undefined ? [] : subscription.sentWith(nonce);
  return { kind: subscription.answered(nonce, error), error, refused };
}

/** How the responses of one variant of the protocol look. */
export interface ResponseCodec {
  readonly kind: 'sotw' | 'delta';
  /** Whether it can say that a name is no more; what cannot ends the stream instead. */
  readonly saysAbsence: boolean;
  /** A whole response around secrets that are encoded already, and names that are no more. */
  encode(nonce: string, secrets: readonly Secret[], absent?: readonly string[]): Buffer;
}

/** One variant of the protocol on the common subscription: how requests read, how responses look. */
export interface Codec<Request> extends ResponseCodec {
  /** Takes a request into the subscription; it throws nothing, a fault is part of the result. */
  apply(request: Request, subscription: Subscription): Applied;
}

/**
 * A request as a handler gets it. Bytes that are no request, or more than the limits allow, arrive
 * as a value: thrown inside the deserializer the error would end the stream with INTERNAL, which
 * blames the wrong side.
 */
export type Incoming<Request> =
  | { readonly kind: 'request'; readonly request: Request }
  | { readonly kind: 'malformed'; readonly error: IdentityError };

/** The request that arrived; throws what is wrong with one that is none, a limit counted. */
export function requestOf<Request>(
  incoming: Incoming<Request>,
  { limited }: Pick<SdsMetrics, 'limited'>,
): Request {
  if (incoming.kind === 'request') return incoming.request;
  if (incoming.error.code === 'ERR_LIMIT') limited('names');
  throw incoming.error;
}

/** What is wrong with the type of a request; a service for one type may leave it unsaid. */
export function requestTypeFault(typeUrl: string): IdentityError | undefined {
  if (typeUrl === '' || typeUrl === SECRET_TYPE_URL) return undefined;
  return new IdentityError(
    'ERR_BAD_REQUEST',
    `type_url is ${typeUrl}, this service serves ${SECRET_TYPE_URL}`,
  );
}
