import type { TrustDomain } from '../../src/identity/spiffe-id.ts';
import {
  createCaCertifier,
  type Authority,
  type CertifierDeps,
} from '../../src/issuer/authority.ts';
import type { KeyType } from '../../src/issuer/key-type.ts';
import type { KeyManager } from '../../src/issuer/keys.ts';

interface MakerConfig {
  readonly trustDomain: TrustDomain;
  readonly caKeyType: KeyType;
  readonly caTtlMs: number;
  readonly rootTtlMs: number;
}

/** Makes a root, or an issuing CA below the given one, with a key of its own. */
export function createAuthorityMaker(
  keys: Pick<KeyManager, 'generate'>,
  { trustDomain, caKeyType, caTtlMs, rootTtlMs }: MakerConfig,
  deps: CertifierDeps,
): (issuer: Authority | undefined) => Promise<Authority> {
  const certify = createCaCertifier(trustDomain, false, deps);
  return async (issuer) => {
    const key = await keys.generate(caKeyType);
    const certificate = await certify({ key, ttlMs: issuer ? caTtlMs : rootTtlMs, issuer });
    return { certificate, key, chain: [certificate], validity: certificate.validity };
  };
}
