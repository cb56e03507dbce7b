import { randomBytes, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { systemClock } from '../../src/core/clock.ts';
import type { VaultAuth, VaultConfig } from '../../src/vault/vault-config.ts';
import { createForeignCas } from './upstream.ts';
import { createVaultPki, PkiError, type VaultPki, type VaultPkiOptions } from './vault-pki.ts';

export interface VaultServerOptions extends Partial<VaultPkiOptions> {
  readonly namespace?: string;
  /** Of tokens that logins give; seconds. */
  readonly tokenTtlS?: number;
  readonly tokenMaxTtlS?: number;
  readonly renewable?: boolean;
  /** How often the secret ID is good; 0: always. */
  readonly secretIdUses?: number;
  /** Its certificate is of another CA than that of all others. */
  readonly otherCa?: boolean;
}

export type Behaviour = (request: IncomingMessage, response: ServerResponse) => void;

/** A server that follows the API of Vault as it is documented, as far as credence uses it. */
export interface VaultServer extends AsyncDisposable {
  readonly address: string;
  readonly pki: VaultPki;
  readonly folder: string;
  /** Method and path of each request, in the order of their arrival. */
  readonly asked: string[];
  /** What `sign-intermediate` was asked for last. */
  lastBody: Readonly<Record<string, unknown>>;
  /** Warnings of it that it ignored something. */
  readonly ignored: string[];
  sealed: boolean;
  initialised: boolean;
  /** Set: it does not serve, and sends there. */
  standbyOf: string | undefined;
  /** For the next requests to sign; then it does as it should. */
  behave(...next: readonly Behaviour[]): void;
  /** For the very next requests of any kind. */
  behaveAll(...next: readonly Behaviour[]): void;
  config(auth?: VaultAuth['type'], more?: Partial<VaultConfig>): VaultConfig;
  createToken(options?: { ttlS?: number; maxTtlS?: number; renewable?: boolean }): string;
  /** Writes it into the file of `config('token')`. */
  writeToken(token: string): void;
  /** Vault knows no token any more. */
  revokeAll(): void;
  /** Tokens that are alive. */
  tokens(): number;
  /** Takes no connection and breaks those there are, until it is `back`. */
  leave(): Promise<void>;
  back(): Promise<void>;
}

interface Token {
  expiresAtMs: number;
  readonly maxAtMs: number;
  readonly ttlS: number;
  readonly renewable: boolean;
  /** Of a login with one: the client certificate that a renewal has to show again. */
  readonly fingerprint: string | undefined;
  readonly mayLookUp: boolean;
}

const ROLE_ID = '59d6d1ca-47bb-4e7e-a40b-8be3bc5a0ba8';
const SECRET_ID = '84896a0c-1347-aa90-a4f6-aca8b7558780';
const JWT = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjcmVkZW5jZSJ9.c2lnbmF0dXJl';

class HttpError extends Error {
  readonly status: number;
  constructor(status: number, ...errors: string[]) {
    super(errors.join('\n'));
    this.status = status;
  }
}

const denied = () => new HttpError(403, 'permission denied');

/** They cost as much as all the rest of a server. */
let certificates: ReturnType<typeof makeCertificates> | undefined;

function makeCertificates() {
  const folder = mkdtempSync(join(tmpdir(), 'credence-vault-'));
  try {
    const make = createForeignCas(folder);
    const usage = (name: string) => ['basicConstraints=CA:false', `extendedKeyUsage=${name}`];
    const serverCa = make({ name: 'server CA' });
    const clientCa = make({ name: 'client CA' });
    const names = 'subjectAltName=IP:127.0.0.1,DNS:vault.test';
    const extensions = [...usage('serverAuth'), names];
    const leaf = make({ name: 'vault', issuer: serverCa, extensions });
    const client = make({ name: 'node-1', issuer: clientCa, extensions: usage('clientAuth') });
    return { serverCa, clientCa, leaf, client };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export async function startVaultServer(options: VaultServerOptions = {}): Promise<VaultServer> {
  const { clock = systemClock, namespace = '', tokenTtlS = 1200 } = options;
  const { tokenMaxTtlS = 14_400, renewable = true, secretIdUses = 0 } = options;
  const folder = mkdtempSync(join(tmpdir(), 'credence-vault-'));
  const file = (name: string, text: string, mode = 0o600) => {
    writeFileSync(join(folder, name), text, { mode });
    return join(folder, name);
  };
  const { serverCa, leaf, clientCa, client } = options.otherCa
    ? makeCertificates()
    : (certificates ??= makeCertificates());
  const files = {
    ca: file('ca.pem', serverCa.cert),
    token: join(folder, 'token'),
    secretId: file('secret-id', `${SECRET_ID}\n`),
    jwt: file('jwt', JWT, 0o644),
    cert: file('client.pem', client.cert),
    key: file('client.key', client.key),
  };
  const pki = await createVaultPki({ ...options, clock });
  const tokens = new Map<string, Token>();
  let usesLeft = secretIdUses === 0 ? Infinity : secretIdUses;
  let behaviours: Behaviour[] = [];
  let all: Behaviour[] = [];

  function createToken(of: Partial<Token> & { maxTtlS?: number } = {}): string {
    const token = `hvs.${randomBytes(12).toString('base64url')}`;
    const { ttlS = tokenTtlS, maxTtlS = tokenMaxTtlS } = of;
    tokens.set(token, {
      ...{ ttlS, renewable: of.renewable ?? renewable, fingerprint: of.fingerprint },
      expiresAtMs: clock.now() + ttlS * 1000,
      maxAtMs: clock.now() + maxTtlS * 1000,
      mayLookUp: of.mayLookUp ?? true,
    });
    return token;
  }

  function tokenOf({ headers }: IncomingMessage): readonly [string, Token] {
    const name = String(headers['x-vault-token'] ?? '');
    const token = tokens.get(name);
    if (!token || token.expiresAtMs <= clock.now()) throw denied();
    return [name, token];
  }

  const login = (body: Record<string, unknown>, expected: Record<string, unknown>) => {
    for (const [name, value] of Object.entries(expected)) {
      if (body[name] === undefined) throw new HttpError(400, `missing ${name}`);
      if (body[name] !== value) return false;
    }
    return true;
  };

  function authOf(name: string, lifeS: number, of: Token) {
    const auth = { client_token: name, accessor: 'a', policies: ['default', 'credence'] };
    return { auth: { ...auth, lease_duration: lifeS, renewable: of.renewable } };
  }

  function loggedIn(fingerprint?: string) {
    const name = createToken({ fingerprint: fingerprint });
    const token = tokens.get(name);
    if (!token) throw new TypeError('no token');
    return authOf(name, token.ttlS, token);
  }

  function clientOf(request: IncomingMessage): string {
    const { socket } = request;
    if (!(socket instanceof TLSSocket) || !socket.authorized) {
      throw new HttpError(400, 'invalid certificate or no client certificate supplied');
    }
    return socket.getPeerCertificate().fingerprint256;
  }

  type Route = (
    request: IncomingMessage,
    body: Record<string, unknown>,
  ) => object | Promise<object>;
  const routes: Readonly<Record<string, Route>> = {
    'POST auth/approle/login': (_, body) => {
      if (!login(body, { role_id: ROLE_ID, secret_id: SECRET_ID }) || usesLeft-- <= 0) {
        throw new HttpError(400, 'invalid role or secret ID');
      }
      return loggedIn();
    },
    'POST auth/kubernetes/login': (_, body) => {
      if (body['role'] !== 'credence') {
        throw new HttpError(400, `invalid role name ${JSON.stringify(body['role'])}`);
      }
      if (!login(body, { jwt: JWT })) throw denied();
      return loggedIn();
    },
    'POST auth/cert/login': (request, body) => {
      const fingerprint = clientOf(request);
      if (![undefined, 'credence'].includes(body['name'] as string | undefined)) {
        throw new HttpError(400, 'no chain matching all constraints could be found');
      }
      return loggedIn(fingerprint);
    },
    'GET auth/token/lookup-self': (request) => {
      const [, token] = tokenOf(request);
      if (!token.mayLookUp) throw denied();
      const ttl = Math.floor((token.expiresAtMs - clock.now()) / 1000);
      return { data: { ttl, renewable: token.renewable, num_uses: 0, type: 'service' } };
    },
    'POST auth/token/renew-self': (request) => {
      const [name, token] = tokenOf(request);
      if (!token.renewable) throw new HttpError(400, 'lease is not renewable');
      if (token.fingerprint !== undefined && clientOf(request) !== token.fingerprint) {
        throw new HttpError(400, 'client identity during renewal not matching');
      }
      token.expiresAtMs = Math.min(clock.now() + token.ttlS * 1000, token.maxAtMs);
      return authOf(name, Math.floor((token.expiresAtMs - clock.now()) / 1000), token);
    },
    'POST pki/root/sign-intermediate': signed,
    'POST pki/issuer/spiffe/sign-intermediate': signed,
  };

  async function signed(request: IncomingMessage, body: Record<string, unknown>) {
    tokenOf(request);
    made.lastBody = body;
    try {
      const { data, warnings } = await pki.sign(body);
      made.ignored.push(...warnings.filter((one) => one.startsWith('Endpoint ignored')));
      return { data, warnings };
    } catch (thrown) {
      throw thrown instanceof PkiError ? new HttpError(400, thrown.message) : thrown;
    }
  }

  async function answer(request: IncomingMessage): Promise<object> {
    const parts: Buffer[] = [];
    for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
    if (!made.initialised) throw new HttpError(501, 'Vault is not initialized');
    if (made.sealed) throw new HttpError(503, 'Vault is sealed');
    const { method = '', url = '', headers } = request;
    const path = url.replace(/^\/v1\//, '');
    const route = routes[`${method === 'PUT' ? 'POST' : method} ${path}`];
    if (!url.startsWith('/v1/') || String(headers['x-vault-namespace'] ?? '') !== namespace) {
      throw new HttpError(404, `no handler for route "${path}". route entry not found.`);
    }
    if (!route) {
      const other = ['GET', 'POST'].some((one) => routes[`${one} ${path}`]);
      throw other
        ? new HttpError(405, 'unsupported operation')
        : new HttpError(404, `no handler for route "${path}". route entry not found.`);
    }
    const text = Buffer.concat(parts).toString();
    let body: unknown = {};
    try {
      if (text !== '') body = JSON.parse(text);
    } catch {
      throw new HttpError(400, 'failed to parse JSON input: invalid character');
    }
    return route(request, body as Record<string, unknown>);
  }

  const server = createServer(
    // Asked for, and looked at where somebody logs in with it.
    {
      ...{ key: leaf.key, cert: leaf.cert, ca: clientCa.cert },
      ...{ requestCert: true, rejectUnauthorized: false },
    },
    (request, response) => {
      response.on('error', () => undefined);
      made.asked.push(`${request.method ?? ''} ${request.url ?? ''}`);
      const isSign = request.url?.endsWith('/sign-intermediate') ?? false;
      const special = all.shift() ?? (isSign ? behaviours.shift() : undefined);
      if (special) return special(request, response);
      if (made.standbyOf !== undefined) {
        const location = `${made.standbyOf}${request.url ?? ''}`;
        return void response.writeHead(307, { location }).end();
      }
      answer(request).then(
        (document) => {
          const envelope = { request_id: 'r', lease_id: '', renewable: false, lease_duration: 0 };
          const whole = { ...envelope, data: null, wrap_info: null, warnings: null, auth: null };
          response.writeHead(200, { 'content-type': 'application/json' });
          response.end(JSON.stringify({ ...whole, ...document }));
        },
        (thrown: unknown) => {
          const status = thrown instanceof HttpError ? thrown.status : 500;
          const errors = thrown instanceof Error ? thrown.message.split('\n') : [];
          response.writeHead(status, { 'content-type': 'application/json' });
          response.end(JSON.stringify({ errors }));
        },
      );
    },
  );
  let port = 0;
  const back = async () => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  };
  const leave = async () => {
    if (!server.listening) return;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  };
  await back();

  const auths: { readonly [T in VaultAuth['type']]: Extract<VaultAuth, { type: T }> } = {
    token: { type: 'token', tokenFile: files.token },
    approle: { type: 'approle', mount: 'approle', roleId: ROLE_ID, secretIdFile: files.secretId },
    kubernetes: { type: 'kubernetes', mount: 'kubernetes', role: 'credence', jwtFile: files.jwt },
    cert: {
      ...{ type: 'cert', mount: 'cert', role: 'credence' },
      ...{ certFile: files.cert, keyFile: files.key },
    },
  };
  const address = `https://127.0.0.1:${port}`;
  const made: VaultServer = {
    ...{ address, pki, folder, asked: [], lastBody: {}, ignored: [] },
    ...{ sealed: false, initialised: true, standbyOf: undefined },
    behave: (...next) => void (behaviours = [...next]),
    behaveAll: (...next) => void (all = [...next]),
    config: (type = 'approle', more = {}) => ({
      ...{ address, namespace, caFile: files.ca, serverName: undefined, redirectHosts: [] },
      ...{ pkiMount: 'pki', issuerRef: undefined, rootFile: undefined, auth: auths[type] },
      ...more,
    }),
    createToken,
    writeToken: (token) => void file('token', `${token}\n`),
    revokeAll: () => tokens.clear(),
    tokens: () =>
      [...tokens.values()].filter(({ expiresAtMs }) => expiresAtMs > clock.now()).length,
    ...{ leave, back },
    async [Symbol.asyncDispose]() {
      await leave();
      rmSync(folder, { recursive: true });
    },
  };
  made.writeToken(createToken());
  return made;
}

/** Everything of it that must never be written anywhere. */
export const VAULT_SECRETS = [SECRET_ID, JWT];

/** Answers with this text. */
export const says =
  (text: string, status = 200): Behaviour =>
  (_, response) =>
    void response.writeHead(status).end(text);

/** Takes the request and says nothing for ever. */
export const silent: Behaviour = () => undefined;

/** Breaks the connection without an answer. */
export const broken: Behaviour = (request) => void request.socket.destroy();

/** Goes on with an answer for as long as anybody reads it. */
export const endless: Behaviour = (_, response) => {
  response.writeHead(200);
  const more = () => {
    while (!response.destroyed && response.write('x'.repeat(65_536)));
    if (!response.destroyed) response.once('drain', more);
  };
  more();
};

/** For people and tests: what a DER certificate says. */
export const parsed = (der: Uint8Array) => new X509Certificate(der);
