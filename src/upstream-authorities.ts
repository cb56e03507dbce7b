import type { Config } from './config.ts';
import type { Clock } from './core/clock.ts';
import type { Logger } from './core/log.ts';
import type { Random } from './core/random.ts';
import type { UpstreamAuthority } from './issuer/upstream-authority.ts';
import { createVaultAuthority } from './vault/authority.ts';

export interface UpstreamAuthorityDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** Who signs issuing CAs for keys made here; undefined where that is a root of our own, or nobody. */
export function createUpstreamAuthority(
  { issuer: { remote, nameConstraint }, trustDomain }: Pick<Config, 'issuer' | 'trustDomain'>,
  deps: UpstreamAuthorityDeps,
): UpstreamAuthority | undefined {
  return remote && createVaultAuthority(remote.vault, { ...deps, trustDomain, nameConstraint });
}
