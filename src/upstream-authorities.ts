import type { Config } from './config.ts';
import type { Clock } from './core/clock.ts';
import type { Logger } from './core/log.ts';
import type { Random } from './core/random.ts';
import type { UpstreamAuthority } from './issuer/upstream-authority.ts';
import { createCertManager } from './kube-ca/cert-manager.ts';
import { createKubernetesCsr } from './kube-ca/kubernetes-csr.ts';
import { createVaultAuthority } from './vault/authority.ts';

export interface UpstreamAuthorityDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** Who signs issuing CAs for keys made here; undefined where that is a root of our own, or nobody. */
export function createUpstreamAuthority(
  { issuer: { remote, nameConstraint }, trustDomain, nodeName, attestation }: UpstreamSettings,
  deps: UpstreamAuthorityDeps,
): UpstreamAuthority | undefined {
  if (!remote) return undefined;
  // The node as the cluster calls it, which a signer compares with what a pod's token says.
  const asker = { trustDomain, nodeName: attestation.kubernetes?.nodeName ?? nodeName };
  const kubeDeps = { ...deps, log: deps.log.child({ component: 'kube-ca' }) };
  switch (remote.type) {
    case 'vault':
      return createVaultAuthority(remote.vault, { ...deps, trustDomain, nameConstraint });
    case 'kubernetes_csr':
      return createKubernetesCsr({ ...remote, ...asker }, kubeDeps);
    case 'cert_manager':
      return createCertManager({ ...remote, ...asker }, kubeDeps);
  }
}

type UpstreamSettings = Pick<Config, 'issuer' | 'trustDomain' | 'nodeName' | 'attestation'>;
