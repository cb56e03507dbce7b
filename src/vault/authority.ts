import { setMaxListeners } from 'node:events';
import { abortReason, type Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import { readCertificate } from '../identity/certificate.ts';
import { pemBytes } from '../identity/pem.ts';
import { trustDomainId, type TrustDomain } from '../identity/spiffe-id.ts';
import type { CaOrder, IssuedCa, UpstreamAuthority } from '../issuer/upstream-authority.ts';
import { readCertificates } from '../issuer/upstream-certificates.ts';
import { readSafeFile } from '../issuer/upstream-files.ts';
import { printable, VaultRefusal, type VaultAnswer } from './answer.ts';
import { askingFault, createVaultCalls } from './calls.ts';
import { readIssued } from './issued.ts';
import { createVaultSession, type GivenToken } from './session.ts';
import { vaultName, type VaultConfig } from './vault-config.ts';

/** RFC 5280 appendix A: ub-organization-name. */
const MAX_ORGANIZATION = 64;

export interface VaultDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly trustDomain: TrustDomain;
  /** Whether the CA is to be held to the trust domain; then one that is not is refused. */
  readonly nameConstraint?: boolean;
}

/** Has issuing CAs signed by the PKI secrets engine of a Vault or an OpenBao. */
export function createVaultAuthority(config: VaultConfig, deps: VaultDeps): UpstreamAuthority {
  const log = deps.log.child({ component: 'vault' });
  const calls = createVaultCalls(config, deps.clock);
  const session = createVaultSession(config, { ...deps, calls, log });
  const closing = new AbortController();
  // Each CA that is asked for listens until it is there.
  setMaxListeners(0, closing.signal);

  async function sign(order: CaOrder, { token }: GivenToken, signal: AbortSignal) {
    const path = signPath(config);
    const body = signBody(order, deps);
    return calls.call({ method: 'POST', path, token, body }, { signal });
  }

  /** A token that was good and is not any more is replaced, once. */
  async function ask(order: CaOrder, signal: AbortSignal): Promise<VaultAnswer> {
    const first = await session.token({ signal });
    try {
      return await sign(order, first, signal);
    } catch (thrown) {
      if (!(thrown instanceof VaultRefusal) || thrown.status !== 403) throw thrown;
      session.forget(first.token);
      if (first.isNew) throw thrown;
    }
    const second = await session.token({ signal });
    try {
      return await sign(order, second, signal);
    } catch (thrown) {
      if (thrown instanceof VaultRefusal && thrown.status === 403) session.forget(second.token);
      throw thrown;
    }
  }

  return {
    name: vaultName(config),
    async issue(order, options): Promise<IssuedCa> {
      const signal = AbortSignal.any([options.signal, closing.signal]);
      try {
        const { data, warnings } = await ask(order, signal);
        const detail = warnings.map((one) => printable(one, [])).join('; ');
        if (detail !== '') log.debug({ detail: detail.slice(0, 1000) }, 'vault warns');
        return constrained(readIssued(data, knownRoots(config)), deps);
      } catch (thrown) {
        if (options.signal.aborted) throw abortReason(options.signal);
        if (closing.signal.aborted) throw new IdentityError('ERR_SHUTDOWN', 'vault is not asked');
        throw askingFault(thrown, config);
      }
    },
    close() {
      closing.abort(new Error('closed'));
      session.close();
    },
  };
}

function signPath({ pkiMount, issuerRef }: VaultConfig): string {
  const signer = issuerRef === undefined ? 'root' : `issuer/${issuerRef}`;
  return `${pkiMount}/${signer}/sign-intermediate`;
}

/**
 * The parameters of "Sign intermediate". What the request says beside its key and its common name does not
 * count (`use_csr_values`), so a policy of Vault can pin all that does.
 */
function signBody({ csr, ttlMs }: CaOrder, { trustDomain, nameConstraint = false }: VaultDeps) {
  return {
    csr: pemBytes('CERTIFICATE REQUEST', csr).toString('latin1'),
    format: 'pem',
    // Whole seconds; the mount may give less.
    ttl: `${Math.max(Math.floor(ttlMs / 1000), 1)}s`,
    max_path_length: 0,
    ...(trustDomain.length <= MAX_ORGANIZATION ? { organization: trustDomain } : {}),
    uri_sans: trustDomainId(trustDomain),
    // It is no host name, and is refused as one.
    exclude_cn_from_sans: true,
    ...(nameConstraint ? { permitted_uri_domains: trustDomain } : {}),
  };
}

/** A Vault before 1.19 and an OpenBao pass over the parameter and say so in a warning. */
function constrained(issued: IssuedCa, { nameConstraint = false }: VaultDeps): IssuedCa {
  const [der] = issued.chain;
  if (!nameConstraint || (der && readCertificate(der).nameConstraints)) return issued;
  throw new IdentityError(
    'ERR_ISSUER',
    'the CA has no name constraint, as issuer.name_constraint wants it: this takes Vault 1.19 or later',
  );
}

function knownRoots({ rootFile }: VaultConfig) {
  return rootFile === undefined ? [] : readCertificates(readSafeFile(rootFile), rootFile);
}
