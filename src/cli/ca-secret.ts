import type { KubernetesConfig } from '../config-kubernetes.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import { fromFiles } from '../kubernetes/access.ts';
import { ApiRefusal, createApi } from '../kubernetes/api.ts';
import type { Terminal } from './command.ts';
import { interrupted } from './unreachable.ts';

/** Names of Kubernetes that go into a path as they are (RFC 1123 subdomains). */
const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

interface SecretName {
  readonly namespace: string;
  readonly name: string;
}

/** Reads `NS/NAME`; throws `ERR_USAGE`. */
export function parseSecretName(text: string): SecretName {
  const [namespace = '', name = '', ...more] = text.split('/');
  if (more.length === 0 && NAME.test(namespace) && NAME.test(name)) return { namespace, name };
  throw new IdentityError('ERR_USAGE', `--secret is "${text}", expected NAMESPACE/NAME`, {
    hint: 'credence ca create --secret credence/credence-ca',
  });
}

/**
 * Creates a Secret of type `kubernetes.io/tls`; false when there is one of that name, which stays as
 * it is. Throws `ERR_DENIED` when the server refuses and `ERR_UNREACHABLE` when it does not answer.
 */
export async function createTlsSecret(
  { namespace, name }: SecretName,
  files: Readonly<Record<string, string>>,
  { apiServer, caFile: ca, tokenFile: token }: KubernetesConfig,
  { clock, signal }: Pick<Terminal, 'clock' | 'signal'>,
): Promise<boolean> {
  const api = createApi(fromFiles({ ...apiServer, ca, token }, clock), clock);
  try {
    const secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'kubernetes.io/tls',
      metadata: { name, namespace, labels: { 'app.kubernetes.io/name': name } },
      stringData: files,
    };
    await api.send('POST', `/api/v1/namespaces/${namespace}/secrets`, secret, { signal });
    return true;
  } catch (thrown) {
    if (signal.aborted) throw interrupted();
    if (thrown instanceof ApiRefusal) {
      if (thrown.code === 409) return false;
      throw refused(thrown, namespace);
    }
    const error = toIdentityError(thrown, 'ERR_UNREACHABLE');
    const server = `${apiServer.host}:${apiServer.port}`;
    throw new IdentityError(error.code, `API server ${server}: ${error.message}`, {
      cause: thrown,
    });
  } finally {
    api.close();
  }
}

function refused({ code, message }: ApiRefusal, namespace: string): IdentityError {
  const hint = code === 403 ? `it takes the right to create secrets in ${namespace}` : undefined;
  const options = hint === undefined ? {} : { hint };
  return new IdentityError('ERR_DENIED', `the API server answered ${code}: ${message}`, options);
}
