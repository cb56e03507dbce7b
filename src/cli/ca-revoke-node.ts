import { loadConfig, type Config } from '../config.ts';
import { formatDuration } from '../core/duration.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import { silentLogger } from '../core/log.ts';
import { fromFiles } from '../kubernetes/access.ts';
import { ApiRefusal, createApi, type Api } from '../kubernetes/api.ts';
import { cutOffNode } from '../signer/cut-off.ts';
import { createKeyRecord } from '../signer/key-record.ts';
import { createKeysInSecret, createStateStore } from '../signer/secret-store.ts';
import { textOf, type Action, type Terminal } from './command.ts';
import { EXIT } from './exit.ts';
import { interrupted } from './unreachable.ts';

/** RFC 1123 subdomain: what a node may be called. */
const NODE_NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** `credence ca revoke --node`: cuts a node off, or lets it in again; all signers follow. */
export const caRevokeNode: Action = async (given, _operands, terminal) => {
  const node = textOf(given, 'node');
  const file = textOf(given, 'config');
  if (node === undefined || file === undefined) {
    throw usage('credence ca revoke takes --node NAME and --config FILE, that of the signer');
  }
  if (!NODE_NAME.test(node)) throw usage(`--node is "${node}", expected the name of a node`);
  const isUndo = given['undo'] === true;
  const config = loadConfig(file, terminal.env);
  const { isNew, isTainted } = await inCluster(config, terminal, (api) => {
    const { signer, trustDomain } = config;
    const { clock, signal } = terminal;
    const mayBegin = config.issuer.upstream !== undefined;
    const keys = signer.keys === 'secret' ? createKeysInSecret() : undefined;
    const store = createStateStore({ api, secret: signer.secret, trustDomain }, keys);
    const log = silentLogger;
    const record = createKeyRecord({ api, configMap: signer.keyRecord, clock, log, signal });
    return cutOffNode({ node, isUndo }, { store, record, clock, signal, mayBegin });
  });
  terminal.out(`${told(node, config, { isUndo, isNew, isTainted })}\n`);
  return EXIT.done;
};

function told(
  node: string,
  { issuer, signer }: Config,
  { isUndo, isNew, isTainted }: { isUndo: boolean; isNew: boolean; isTainted: boolean },
): string {
  if (isUndo) return isNew ? `${node} is signed for again` : `${node} was not cut off`;
  const begin = isNew ? `${node} gets no CA any more` : `${node} was cut off before`;
  if (!isTainted) return `${begin}; no CA of it lives`;
  if (issuer.upstream) {
    return `${begin}. A CA of it may live: replace ${issuer.upstream.certFile} by one below another root, and take that root away`;
  }
  const delay = formatDuration(signer.revocationDelayMs);
  return `${begin}. A CA of it may live: a new root is made, signs after ${delay}, and ${delay} later the one before is no longer trusted`;
}

async function inCluster<T>(
  { signer }: Config,
  { clock, signal }: Terminal,
  ask: (api: Api) => Promise<T>,
): Promise<T> {
  const { apiServer, caFile: ca, tokenFile: token } = signer;
  if (!apiServer) {
    throw new IdentityError(
      'ERR_CONFIG',
      'signer.api_server: expected host:port, as this is no pod',
      {
        hint: 'kubectl -n credence exec deploy/credence-signer -- credence ca revoke …',
      },
    );
  }
  const api = createApi(fromFiles({ ...apiServer, ca, token }, clock), clock);
  try {
    return await ask(api);
  } catch (thrown) {
    if (signal.aborted) throw interrupted();
    if (thrown instanceof ApiRefusal) {
      const { code, message } = thrown;
      throw new IdentityError('ERR_DENIED', `the API server answered ${code}: ${message}`);
    }
    const error = toIdentityError(thrown, 'ERR_UNREACHABLE');
    const where = `API server ${apiServer.host}:${apiServer.port}`;
    const { hint, code, message } = error;
    const options = { cause: thrown, ...(hint === undefined ? {} : { hint }) };
    throw new IdentityError(
      code,
      code === 'ERR_UNREACHABLE' ? `${where}: ${message}` : message,
      options,
    );
  } finally {
    api.close();
  }
}

function usage(message: string): IdentityError {
  return new IdentityError('ERR_USAGE', message, { hint: 'credence ca revoke --help' });
}
