import {
  credentials,
  makeClientConstructor,
  Metadata,
  status,
  type Client,
  type ServiceDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import { fromJSON, type MessageTypeDefinition } from '@grpc/proto-loader';
import { IdentityError } from '../core/errors.ts';
import descriptors from '../gen/protos.json' with { type: 'json' };
import { socketFault, unreachableError } from './unreachable.ts';

/** What one `FetchSecrets` brought, as PEM texts by name. */
export interface FetchedSecrets {
  readonly certificates: readonly { name: string; chainPem: string; keyPem: string }[];
  readonly bundles: readonly { name: string; trustDomain: string; rootsPem: string }[];
}

interface DataSource {
  readonly inline_bytes?: Buffer;
}

interface SecretMessage {
  readonly name: string;
  readonly tls_certificate?: {
    readonly certificate_chain?: DataSource;
    readonly private_key?: DataSource;
  };
  readonly validation_context?: {
    readonly custom_validator_config?: { readonly typed_config?: { readonly value: Buffer } };
  };
}

interface ValidatorMessage {
  readonly trust_domains?: readonly { name: string; trust_bundle?: DataSource }[];
}

const SERVICE = 'envoy.service.secret.v3.SecretDiscoveryService';
const SECRET_TYPE = 'envoy.extensions.transport_sockets.tls.v3.Secret';
const VALIDATOR_TYPE = 'envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig';
const TIMEOUT_MS = 10_000;

/**
 * Fetches everything that this process may have over SDS. Throws `ERR_UNREACHABLE`, `ERR_DENIED`
 * or, without an answer in 10 s, `ERR_NOT_READY`.
 */
export async function fetchSecrets(
  socketPath: string,
  options: { nowMs: number; signal: AbortSignal },
): Promise<FetchedSecrets> {
  // protobufjs asks for comments that its own descriptors leave out.
  const json = descriptors as unknown as Parameters<typeof fromJSON>[0];
  const definition = fromJSON(json, { keepCase: true });
  const decode = (type: string, bytes: Buffer): unknown => {
    const message = definition[type];
    if (!message || !('deserialize' in message)) throw new TypeError(`no message ${type}`);
    return (message as MessageTypeDefinition<object, object>).deserialize(bytes);
  };
  const Sds = makeClientConstructor(definition[SERVICE] as ServiceDefinition, SERVICE);
  const client = new Sds(`unix:${socketPath}`, credentials.createInsecure()) as unknown as Client &
    Record<'FetchSecrets', FetchMethod>;
  try {
    const resources = await call(client, socketPath, options);
    const secrets = resources.map(({ value }) => decode(SECRET_TYPE, value) as SecretMessage);
    return {
      certificates: secrets.flatMap(({ name, tls_certificate: tls }) =>
        tls
          ? [{ name, chainPem: inline(tls.certificate_chain), keyPem: inline(tls.private_key) }]
          : [],
      ),
      bundles: secrets.flatMap(({ name, validation_context: context }) => {
        const typed = context?.custom_validator_config?.typed_config;
        if (!typed) return [];
        const domains =
          (decode(VALIDATOR_TYPE, typed.value) as ValidatorMessage).trust_domains ?? [];
        return domains.map((domain) => ({
          name,
          trustDomain: domain.name,
          rootsPem: inline(domain.trust_bundle),
        }));
      }),
    };
  } finally {
    client.close();
  }
}

const inline = (source: DataSource | undefined): string =>
  source?.inline_bytes?.toString('latin1') ?? '';

type Failure = Pick<ServiceError, 'code' | 'details' | 'metadata'>;

type FetchMethod = (
  request: unknown,
  metadata: Metadata,
  options: { deadline: number },
  callback: (
    error: Failure | null,
    response?: { resources?: readonly { value: Buffer }[] },
  ) => void,
) => { cancel(): void };

function call(
  client: Record<'FetchSecrets', FetchMethod>,
  socketPath: string,
  options: { nowMs: number; signal: AbortSignal },
): Promise<readonly { value: Buffer }[]> {
  // The form that keeps trust domains apart, whatever the daemon's default is.
  const node = {
    id: 'credence-fetch',
    metadata: { fields: { disable_spiffe_cert_validation: { bool_value: false } } },
  };
  return new Promise((resolve, reject) => {
    const running = client.FetchSecrets(
      { node, type_url: `type.googleapis.com/${SECRET_TYPE}` },
      new Metadata(),
      { deadline: options.nowMs + TIMEOUT_MS },
      (error, response) => {
        if (!error) resolve(response?.resources ?? []);
        else reject(toError(error, socketPath));
      },
    );
    options.signal.addEventListener('abort', () => running.cancel(), { once: true });
  });
}

function toError(error: Failure, socketPath: string): IdentityError {
  if (error.code === status.DEADLINE_EXCEEDED) {
    return new IdentityError(
      'ERR_NOT_READY',
      `credence at ${socketPath}: no answer within ${TIMEOUT_MS / 1000} s`,
    );
  }
  // With what the daemon answers come headers of HTTP/2; a status of the library's own has none.
  const answered = Object.keys(error.metadata.getMap()).length > 0;
  if (answered || error.code !== status.UNAVAILABLE) {
    return new IdentityError(
      'ERR_DENIED',
      `credence answered ${status[error.code]}: ${error.details}`,
    );
  }
  const errno = /\bE[A-Z]{3,}\b/.exec(error.details)?.[0];
  const reason = socketFault(errno) ?? errno ?? 'it closed the connection without an answer';
  return unreachableError(socketPath, reason, {
    hint: 'is it running? --socket PATH or SPIFFE_ENDPOINT_SOCKET says where to look',
  });
}
