import {
  credentials,
  makeClientConstructor,
  Metadata,
  status,
  type Client,
  type ServiceDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import { fromJSON, type MessageTypeDefinition, type PackageDefinition } from '@grpc/proto-loader';
import { IdentityError } from '../core/errors.ts';
import descriptors from '../gen/protos.json' with { type: 'json' };
import { interrupted, socketFault, unreachableError, unreachableHint } from './unreachable.ts';

/** What one `FetchSecrets` brought, as PEM texts by name. */
export interface FetchedSecrets {
  readonly certificates: readonly { name: string; chainPem: string; keyPem: string }[];
  readonly bundles: readonly { name: string; trustDomain: string; rootsPem: string }[];
}

interface DataSource {
  readonly inline_bytes?: Buffer;
}

interface Resource {
  readonly value?: Buffer;
}

interface SecretMessage {
  readonly name?: string;
  readonly tls_certificate?: {
    readonly certificate_chain?: DataSource;
    readonly private_key?: DataSource;
  };
  readonly validation_context?: {
    readonly custom_validator_config?: { readonly typed_config?: Resource };
  };
}

interface ValidatorMessage {
  readonly trust_domains?: readonly { name?: string; trust_bundle?: DataSource }[];
}

const SERVICE = 'envoy.service.secret.v3.SecretDiscoveryService';
const SECRET_TYPE = 'envoy.extensions.transport_sockets.tls.v3.Secret';
const VALIDATOR_TYPE = 'envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig';
/** How long an answer may take. */
export const FETCH_TIMEOUT_MS = 10_000;
/** A process may hold thousands of identities. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/**
 * Fetches everything that this process may have over SDS. Throws `ERR_UNREACHABLE`, also without an
 * answer in 10 s, `ERR_DENIED` for any answer but secrets, `ERR_SHUTDOWN` when the signal is aborted.
 */
export async function fetchSecrets(
  socketPath: string,
  options: { nowMs: number; signal: AbortSignal },
): Promise<FetchedSecrets> {
  // protobufjs asks for comments that its own descriptors leave out.
  const json = descriptors as unknown as Parameters<typeof fromJSON>[0];
  const definition = fromJSON(json, { keepCase: true });
  const Sds = makeClientConstructor(definition[SERVICE] as ServiceDefinition, SERVICE);
  const client = new Sds(`unix:${socketPath}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': MAX_ANSWER_BYTES,
  }) as unknown as Client & Record<'FetchSecrets', FetchMethod>;
  try {
    const resources = await call(client, socketPath, options);
    try {
      return toSecrets(resources, definition);
    } catch (thrown) {
      throw new IdentityError('ERR_DENIED', 'credence sent something that is not a secret', {
        cause: thrown,
      });
    }
  } finally {
    client.close();
  }
}

function toSecrets(resources: readonly Resource[], definition: PackageDefinition): FetchedSecrets {
  const decode = (type: string, bytes: Buffer): unknown => {
    const message = definition[type];
    if (!message || !('deserialize' in message)) throw new TypeError(`no message ${type}`);
    return (message as MessageTypeDefinition<object, object>).deserialize(bytes);
  };
  const secrets = resources.map(
    ({ value }) => decode(SECRET_TYPE, value ?? NOTHING) as SecretMessage,
  );
  return {
    certificates: secrets.flatMap(({ name = '', tls_certificate: tls }) =>
      tls
        ? [{ name, chainPem: inline(tls.certificate_chain), keyPem: inline(tls.private_key) }]
        : [],
    ),
    bundles: secrets.flatMap(({ name = '', validation_context: context }) => {
      const typed = context?.custom_validator_config?.typed_config;
      if (!typed) return [];
      const config = decode(VALIDATOR_TYPE, typed.value ?? NOTHING) as ValidatorMessage;
      return (config.trust_domains ?? []).map((domain) => ({
        name,
        trustDomain: domain.name ?? '',
        rootsPem: inline(domain.trust_bundle),
      }));
    }),
  };
}

const NOTHING = Buffer.alloc(0);

const inline = (source: DataSource | undefined): string =>
  source?.inline_bytes?.toString('latin1') ?? '';

type Failure = Pick<ServiceError, 'code' | 'details' | 'metadata'>;

type FetchMethod = (
  request: unknown,
  metadata: Metadata,
  options: { deadline: number },
  callback: (error: Failure | null, response?: { resources?: readonly Resource[] }) => void,
) => { cancel(): void };

function call(
  client: Record<'FetchSecrets', FetchMethod>,
  socketPath: string,
  options: { nowMs: number; signal: AbortSignal },
): Promise<readonly Resource[]> {
  // The form that keeps trust domains apart, whatever the daemon's default is. Google's own messages
  // keep their JSON names in the descriptors.
  const node = {
    id: 'credence-fetch',
    metadata: { fields: { disable_spiffe_cert_validation: { boolValue: false } } },
  };
  return new Promise((resolve, reject) => {
    if (options.signal.aborted) return reject(interrupted());
    const running = client.FetchSecrets(
      { node, type_url: `type.googleapis.com/${SECRET_TYPE}` },
      new Metadata(),
      { deadline: options.nowMs + FETCH_TIMEOUT_MS },
      (error, response) => {
        if (!error) resolve(response?.resources ?? []);
        else reject(options.signal.aborted ? interrupted() : toError(error, socketPath));
      },
    );
    options.signal.addEventListener('abort', () => running.cancel(), { once: true });
  });
}

const WHERE = '--socket PATH or SPIFFE_ENDPOINT_SOCKET says where to look';

function toError(error: Failure, socketPath: string): IdentityError {
  if (error.code === status.DEADLINE_EXCEEDED) {
    const reason = `no answer within ${FETCH_TIMEOUT_MS / 1000} s`;
    return unreachableError(socketPath, reason, { hint: unreachableHint('ETIMEDOUT', WHERE) });
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
  const hint =
    errno === 'EACCES'
      ? `it, or a folder above it, is closed to this user: namei -l ${socketPath}`
      : unreachableHint(errno, WHERE);
  return unreachableError(socketPath, reason, { hint });
}
