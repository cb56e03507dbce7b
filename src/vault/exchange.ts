import { request as plainRequest, type IncomingMessage } from 'node:http';
import { request, type RequestOptions } from 'node:https';
import { isIP } from 'node:net';
import { checkServerIdentity } from 'node:tls';
import { abortReason, type Clock } from '../core/clock.ts';
import { readSafeFile } from '../issuer/upstream-files.ts';
import type { VaultConfig } from './vault-config.ts';

/** One HTTP request; whoever made the body wipes it. */
export interface Sent {
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | undefined;
}

/** Its answer, whole; whoever gets it wipes the bytes. */
export interface Received {
  readonly status: number;
  readonly location: string | undefined;
  readonly bytes: Buffer;
}

export interface ExchangeOptions {
  readonly signal: AbortSignal;
  readonly clock: Clock;
}

/** From the look-up of the name to the last byte. */
const DEADLINE_MS = 15_000;
/** A chain of ten CAs with RSA keys of 4096 bits has 30 kB. */
const MAX_BYTES = 262_144;

/**
 * Asks over a connection of its own: there are a few requests in hours, and files for TLS may have been
 * replaced in between. Rejects with an `Error` that says what came of it, `ERR_KEY_STORE` for a file, or
 * the signal's reason.
 */
export async function exchange(
  url: URL,
  sent: Sent,
  config: VaultConfig,
  { signal, clock }: ExchangeOptions,
): Promise<Received> {
  if (signal.aborted) throw abortReason(signal);
  const key =
    config.auth.type === 'cert' ? readSafeFile(config.auth.keyFile, 'the key') : undefined;
  try {
    const options = {
      ...{ method: sent.method, agent: false },
      headers: { ...sent.headers, 'content-length': String(sent.body?.length ?? 0) },
      ...(url.protocol === 'http:' ? {} : tls(config, key)),
    };
    return await ask(url, options, sent.body, { signal, clock });
  } finally {
    key?.fill(0);
  }
}

function ask(
  url: URL,
  options: RequestOptions,
  body: Buffer | undefined,
  { signal, clock }: ExchangeOptions,
): Promise<Received> {
  return new Promise((resolve, reject) => {
    let failure: Error | undefined;
    const fail = (error: Error) => {
      failure ??= error;
      call.destroy(failure);
    };
    const onAbort = () => fail(abortReason(signal));
    const settle = () => {
      timer.cancel();
      signal.removeEventListener('abort', onAbort);
    };
    const refuse = (error: Error) => {
      settle();
      reject(failure ?? error);
    };
    const take = (response: IncomingMessage) => {
      collect(response, fail).then((bytes) => {
        settle();
        const { statusCode: status = 0, headers } = response;
        resolve({ status, location: headers.location, bytes });
      }, refuse);
    };
    const call = (url.protocol === 'http:' ? plainRequest : request)(url, options, take);
    const timer = clock.after(DEADLINE_MS, () =>
      fail(new Error(`no answer within ${DEADLINE_MS / 1000} s`)),
    );
    signal.addEventListener('abort', onAbort, { once: true });
    call.on('error', refuse);
    call.end(body);
  });
}

async function collect(response: IncomingMessage, fail: (error: Error) => void): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    size += part.length;
    parts.push(part);
    if (size > MAX_BYTES) {
      const error = new Error(`an answer of more than ${MAX_BYTES} bytes`);
      fail(error);
      throw error;
    }
  }
  const bytes = Buffer.concat(parts);
  for (const part of parts) part.fill(0);
  return bytes;
}

/** How its certificate is looked at, and ours. There is no way around the first. */
function tls({ caFile, serverName, auth }: VaultConfig, key: Buffer | undefined): RequestOptions {
  return {
    ...(caFile === undefined ? {} : { ca: readSafeFile(caFile) }),
    ...(auth.type === 'cert' && key ? { cert: readSafeFile(auth.certFile), key } : {}),
    ...(serverName === undefined
      ? {}
      : {
          // An address cannot be asked for by name, only looked for in the certificate.
          servername: isIP(serverName) === 0 ? serverName : '',
          checkServerIdentity: (_, certificate) => checkServerIdentity(serverName, certificate),
        }),
  };
}
