import type { TrustDomain } from '../identity/spiffe-id.ts';
import { openAuthorities, type AuthoritiesDeps } from './authorities.ts';
import type { AuthoritiesConfig } from './authority.ts';
import { authorityStatus, type CaSource } from './ca-source.ts';
import { createCaRenewal } from './ca-renewal.ts';
import { openStore, type KeyManagerType } from './store.ts';

interface OwnCaConfig extends AuthoritiesConfig {
  readonly trustDomain: TrustDomain;
  readonly dataDir: string;
  readonly keyManager: KeyManagerType;
}

const nothing = () => undefined;

/** A root of our own and the CA below it; resolves when there is one to sign with. */
export async function openOwnCa(config: OwnCaConfig, deps: AuthoritiesDeps): Promise<CaSource> {
  const store = openStore(config.keyManager, config.dataDir);
  const authorities = await openAuthorities(store, config, deps);
  const renewal = createCaRenewal(authorities, config.caTtlMs, deps);
  try {
    await renewal.usable({});
  } catch (thrown) {
    renewal.close();
    throw thrown;
  }
  const { der, validity } = authorities.root.certificate;
  const bundle = {
    trustDomain: config.trustDomain,
    sequence: authorities.bundleSequence,
    x509Authorities: [{ der, notAfterMs: validity.notAfterMs }],
  };
  return {
    current: () => renewal.current(),
    usable: (options) => renewal.usable(options),
    // One root for its whole life.
    bundle: () => bundle,
    onBundleChange: () => nothing,
    authorities() {
      const issuing = authorities.issuing();
      const root = authorityStatus('root', authorities.root);
      return issuing ? [root, authorityStatus('active', issuing)] : [root];
    },
    asked: nothing,
    upstream: nothing,
    onReload: () => nothing,
    close: () => renewal.close(),
  };
}
