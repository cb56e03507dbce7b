import type { Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import { printable, readAnswer, refusalText, VaultRefusal, type VaultAnswer } from './answer.ts';
import { exchange, type Received, type Sent } from './exchange.ts';
import type { VaultConfig } from './vault-config.ts';

export interface VaultRequest {
  readonly method: 'GET' | 'POST';
  /** Below `/v1/`. */
  readonly path: string;
  /** Never to be written anywhere. */
  readonly token?: string;
  readonly body?: Readonly<Record<string, unknown>>;
  /** What of the body is never to be written anywhere. */
  readonly secrets?: readonly string[];
}

/** The few calls that are made of a Vault. */
export interface VaultCalls {
  /**
   * Asks once. Rejects with `VaultRefusal` for an answer that is no success, an `Error` when there is
   * none, `ERR_KEY_STORE` for a file that is needed, or the signal's reason.
   */
  call(request: VaultRequest, options: { signal: AbortSignal }): Promise<VaultAnswer>;
}

export function createVaultCalls(config: VaultConfig, clock: Clock): VaultCalls {
  return {
    async call(request, { signal }) {
      const url = new URL(`${config.address}/v1/${request.path}`);
      const sent = toSent(request, config);
      try {
        const first = await exchange(url, sent, config, { signal, clock });
        const next = redirection(first, url, request.path, config);
        const last = next ? await exchange(next, sent, config, { signal, clock }) : first;
        return understood(last, next ?? url, request);
      } finally {
        sent.body?.fill(0);
      }
    },
  };
}

function toSent({ method, token, body }: VaultRequest, { namespace }: VaultConfig): Sent {
  return {
    method,
    headers: {
      accept: 'application/json',
      // An agent in between may ask for it ("The X-Vault-Request header").
      'x-vault-request': 'true',
      ...(namespace === '' ? {} : { 'x-vault-namespace': namespace }),
      ...(token === undefined ? {} : { 'x-vault-token': token }),
      ...(body ? { 'content-type': 'application/json' } : {}),
    },
    body: body && Buffer.from(JSON.stringify(body)),
  };
}

/**
 * Where a standby that does not forward sends us ("Client redirection"), once. Token and body go with
 * the request, so that is no other host than one that an operator has named, and TLS.
 */
function redirection(
  { status, location = '', bytes }: Received,
  from: URL,
  path: string,
  { redirectHosts }: VaultConfig,
): URL | undefined {
  if (status !== 307) return undefined;
  bytes.fill(0);
  const to = URL.canParse(location, from.href) ? new URL(location, from.href) : undefined;
  const where = printable(to ? `${to.protocol}//${to.host}` : location, []) || 'nowhere';
  const refuse = (why: string) =>
    new VaultRefusal(status, `${from.origin} sends to ${where}: ${why}`);
  if (!to) throw refuse('expected a URL');
  if (to.protocol !== 'https:') throw refuse('expected https');
  if (to.username !== '' || to.password !== '') throw refuse('expected no user in it');
  if (!to.pathname.endsWith(`/v1/${path}`)) {
    throw refuse('expected the same path');
  }
  if (to.hostname !== from.hostname && !redirectHosts.includes(to.hostname)) {
    throw refuse('issuer.upstream.vault.redirect_hosts does not name it');
  }
  return to;
}

function understood(
  { status, bytes }: Received,
  url: URL,
  { path, token, secrets = [] }: VaultRequest,
): VaultAnswer {
  const hidden = token === undefined ? secrets : [...secrets, token];
  try {
    if (status === 200) {
      const answer = readAnswer(bytes);
      if (answer) return answer;
      const found = printable(bytes.toString('utf8'), hidden);
      throw new VaultRefusal(
        status,
        `${url.origin} answered ${path} with what is no JSON object: ${found || 'nothing'}`,
      );
    }
    if (status === 204) return { data: {}, auth: {}, warnings: [] };
    const reason = refusalText(status, bytes, hidden);
    throw new VaultRefusal(status, `${url.origin} answered ${status} to ${path}: ${reason}`);
  } finally {
    bytes.fill(0);
  }
}

const TRUST_CODES = /^(?:UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|CERT_|ERR_TLS_CERT)/;

/** What came of asking, for whoever asked for a CA: `ERR_ISSUER`. */
export function askingFault(thrown: unknown, { address }: VaultConfig): IdentityError {
  if (thrown instanceof IdentityError) {
    const where = thrown.code === 'ERR_ISSUER' ? `${address}: ` : '';
    return new IdentityError('ERR_ISSUER', `${where}${thrown.message}`, {
      cause: thrown,
      ...(thrown.hint === undefined ? {} : { hint: thrown.hint }),
    });
  }
  if (thrown instanceof VaultRefusal) {
    return new IdentityError('ERR_ISSUER', thrown.message, { cause: thrown, ...hintOf(thrown) });
  }
  const { message, code } = thrown instanceof Error ? codeOf(thrown) : codeOf(new Error('nothing'));
  return new IdentityError('ERR_ISSUER', `cannot ask ${address}: ${printable(message, [])}`, {
    cause: thrown,
    ...(TRUST_CODES.test(code)
      ? { hint: 'issuer.upstream.vault.ca_file names the CA of its certificate' }
      : {}),
  });
}

/** An error of several addresses has no text of its own. */
function codeOf(error: Error): { message: string; code: string } {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return { message: error.message || code || error.name, code };
}

function hintOf({ status }: VaultRefusal): { hint?: string } {
  if (status === 403) return { hint: 'docs/vault.md has the policy that credence needs' };
  if (status === 503) return { hint: 'vault status says whether it is sealed' };
  return {};
}
