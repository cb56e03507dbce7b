import type { CaControl } from './admin/ca-commands.ts';
import type { CaSources, UpstreamView } from './admin/ca-status.ts';
import { IdentityError } from './core/errors.ts';
import type { Clock } from './core/clock.ts';
import type { TrustDomain } from './identity/spiffe-id.ts';
import type { AuthorityControl } from './issuer/authority-control.ts';
import type { BundleReaders } from './issuer/bundle-readers.ts';
import type { UpstreamStatus } from './issuer/ca-source.ts';
import type { Signing } from './signing.ts';

interface ByHandDeps {
  readonly signing: Pick<Signing, 'issuer' | 'bundle'>;
  readonly bundleReaders: Pick<BundleReaders, 'count'>;
  readonly trustDomain: TrustDomain;
  readonly clock: Pick<Clock, 'now'>;
}

const NOT_OPEN = 'the issuer is not open yet';
const FROM_FILES = 'the issuing CA comes from files: whoever writes them replaces it';

/** What the operator sees of the authorities, and does to them, whether or not there are any yet. */
export function authoritiesByHand({ signing, bundleReaders, trustDomain, clock }: ByHandDeps): {
  ca(): CaSources;
  readonly caControl: CaControl;
} {
  function control(): AuthorityControl {
    const issuer = signing.issuer();
    if (!issuer) throw new IdentityError('ERR_NOT_READY', NOT_OPEN);
    const found = issuer.control();
    if (!found) throw new IdentityError('ERR_ISSUER', FROM_FILES);
    return found;
  }

  return {
    ca() {
      const issuer = signing.issuer();
      const obstacle = issuer ? FROM_FILES : NOT_OPEN;
      return {
        nowMs: clock.now(),
        trustDomain,
        bundle: signing.bundle.current(),
        authorities: issuer?.authorities() ?? [],
        bundleReaders: bundleReaders.count(),
        upstream: upstreamView(issuer?.upstream()),
        notByHand: issuer?.control() ? undefined : obstacle,
      };
    },
    caControl: {
      prepare: async (level, options) => control().prepare(level, options),
      activate: async (level, options) => control().activate(level, options),
      taint: async (name, options) => control().taint(name, options),
      revoke: async (name, options) => control().revoke(name, options),
    },
  };
}

function upstreamView(status: UpstreamStatus | undefined): UpstreamView | undefined {
  if (!status) return undefined;
  const { name, loadedAtMs: goodAtMs, lastError, lastErrorAtMs, nextTryMs: nextTryAtMs } = status;
  return { name, goodAtMs, lastError, lastErrorAtMs, nextTryAtMs };
}
