import type { Selector } from '../identity/selector.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { ClusterSpiffeId } from '../manifests/cluster-spiffe-id.ts';
import type { FederatedTrustDomain } from '../manifests/federated-trust-domain.ts';

/** One registration entry, checked. Plain data: it crosses to and from the reload thread. */
export interface PolicyEntry {
  /** May hold placeholders. */
  readonly spiffeId: string;
  /** At least one, without duplicates; all must hold. */
  readonly selectors: readonly Selector[];
  readonly x509SvidTtlMs: number | undefined;
  readonly jwtSvidTtlMs: number | undefined;
  readonly dnsNames: readonly string[];
  readonly federatesWith: readonly TrustDomain[];
  readonly hint: string;
  readonly priority: number;
  /** `file:line`. */
  readonly source: string;
}

/** What the documents hold beside entries; those of other classes are left out. */
export interface PolicyManifests {
  readonly clusterIds: readonly ClusterSpiffeId[];
  readonly federated: readonly FederatedTrustDomain[];
}

export const NO_MANIFESTS: PolicyManifests = { clusterIds: [], federated: [] };

/** Something that works but is probably not meant so; `credence check` prints it. */
export interface PolicyWarning {
  readonly file: string;
  readonly line: number;
  readonly message: string;
}
