import { readSafeFile } from '../issuer/upstream-files.ts';
import { record, VaultRefusal, type VaultAnswer } from './answer.ts';
import type { VaultCalls } from './calls.ts';
import type { VaultAuth } from './vault-config.ts';

/** A token, and how long Vault knows it. */
export interface Lease {
  /** Never to be written anywhere. */
  readonly token: string;
  /** From the answer on; undefined: nobody said, or for ever. */
  readonly lifeMs: number | undefined;
  readonly renewable: boolean;
}

/** A token that Vault writes is shorter by far; a JWT has some kilobytes. */
const MAX_SECRET_BYTES = 65_536;
const TOKEN = /^[\x21-\x7e]{1,4096}$/;

/**
 * Shows Vault who we are, with files as they are now. Rejects with `VaultRefusal`, `ERR_KEY_STORE` for a
 * file, or as the call does.
 */
export async function logIn(
  auth: VaultAuth,
  calls: VaultCalls,
  { signal }: { signal: AbortSignal },
): Promise<Lease> {
  if (auth.type === 'token') return lookUp(readToken(auth.tokenFile), calls, signal);
  const { body, secrets } = credentials(auth);
  const path = `auth/${auth.mount}/login`;
  const answer = await calls.call({ method: 'POST', path, body, secrets }, { signal });
  return leaseOf(answer, path);
}

/** Asks for a longer life of a token; rejects likewise, `VaultRefusal` when there is none. */
export async function renew(
  token: string,
  calls: VaultCalls,
  { signal }: { signal: AbortSignal },
): Promise<Lease> {
  const path = 'auth/token/renew-self';
  const answer = await calls.call({ method: 'POST', path, token, body: {} }, { signal });
  // The token is the one that asked, whatever the answer says.
  return { ...leaseOf(answer, path), token };
}

/** What is in the file of a token. */
export function readToken(path: string): string {
  const token = readSecret(path, 'the token');
  if (TOKEN.test(token)) return token;
  throw new VaultRefusal(0, `${path} holds no token: expected one line`);
}

function credentials(auth: Exclude<VaultAuth, { type: 'token' }>): {
  body: Readonly<Record<string, string>>;
  secrets: readonly string[];
} {
  switch (auth.type) {
    case 'approle': {
      const secretId = readSecret(auth.secretIdFile, 'the secret ID');
      return { body: { role_id: auth.roleId, secret_id: secretId }, secrets: [secretId] };
    }
    case 'kubernetes': {
      // The kubelet writes it for all users of the pod.
      const jwt = readSecret(auth.jwtFile, undefined);
      return { body: { role: auth.role, jwt }, secrets: [jwt] };
    }
    case 'cert':
      return { body: auth.role === undefined ? {} : { name: auth.role }, secrets: [] };
  }
}

/** How long a token of a file lives. One that may not look at itself is used as it is. */
async function lookUp(token: string, calls: VaultCalls, signal: AbortSignal): Promise<Lease> {
  try {
    const path = 'auth/token/lookup-self';
    const { data } = await calls.call({ method: 'GET', path, token }, { signal });
    return { token, lifeMs: lifeOf(data['ttl']), renewable: data['renewable'] === true };
  } catch (thrown) {
    if (!(thrown instanceof VaultRefusal) || thrown.status !== 403) throw thrown;
    return { token, lifeMs: undefined, renewable: false };
  }
}

function leaseOf({ auth }: VaultAnswer, path: string): Lease {
  const { client_token: token, lease_duration: life, renewable } = record(auth);
  if (path.endsWith('/login') && (typeof token !== 'string' || !TOKEN.test(token))) {
    throw new VaultRefusal(200, `the answer to ${path} has no auth.client_token`);
  }
  return {
    token: typeof token === 'string' ? token : '',
    lifeMs: lifeOf(life),
    renewable: renewable === true,
  };
}

/** Seconds; 0 means for ever. */
function lifeOf(seconds: unknown): number | undefined {
  return typeof seconds === 'number' && seconds > 0 && Number.isFinite(seconds)
    ? seconds * 1000
    : undefined;
}

/** Strings cannot be wiped, but what was read from the file can. */
function readSecret(path: string, secret: string | undefined): string {
  const bytes = readSafeFile(path, secret);
  try {
    if (bytes.length > MAX_SECRET_BYTES) {
      throw new VaultRefusal(0, `${path} has ${bytes.length} bytes, at most ${MAX_SECRET_BYTES}`);
    }
    const text = bytes.toString('utf8').trim();
    if (text === '') throw new VaultRefusal(0, `${path} is empty`);
    return text;
  } finally {
    bytes.fill(0);
  }
}
