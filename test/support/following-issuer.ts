import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { openIssuer, type Issuer, type IssuerConfig } from '../../src/issuer/issuer.ts';
import { issuerConfig, issuerDeps, temporaryFolder, WEB } from './issuer.ts';
import { mountSecret, type MountedSecret, type SecretContents } from './upstream.ts';

/** How long a new root waits there, in milliseconds. */
export const DELAY_MS = 120_000;

/** An issuer that follows the files of its CA. */
export interface Running {
  readonly issuer: Issuer;
  readonly secret: MountedSecret;
  readonly deps: ReturnType<typeof issuerDeps>;
  /** Tells the issuer that its files have changed, and waits until it has looked. */
  readonly changed: () => Promise<void>;
}

/** An issuer on a mounted Secret, on a clock of its own and told of changes by hand. */
export async function start(
  t: TestContext,
  contents: SecretContents,
  more: Partial<IssuerConfig> = {},
  secret = mountSecret(join(temporaryFolder(t), 'secret'), contents),
  atMs?: number,
): Promise<Running> {
  const deps = issuerDeps(atMs);
  const heard: (() => void)[] = [];
  const { cert_file: certFile, key_file: keyFile, bundle_file: bundleFile } = secret.settings;
  const upstream = { certFile, keyFile, bundleFile, newRootDelayMs: DELAY_MS };
  const issuer = await openIssuer(issuerConfig({ ...more, upstream }), {
    ...deps,
    watch: (onChange) => {
      heard.push(onChange);
      return { rearm: (visit) => visit(() => undefined), close: () => undefined };
    },
  });
  t.after(() => issuer.close());
  const changed = async () => {
    for (const tell of heard) tell();
    await deps.clock.advance(50);
  };
  return { issuer, secret, deps, changed };
}

export const mint = (issuer: Issuer, ttlMs?: number) =>
  issuer.mint({ id: WEB, dnsNames: [], ttlMs }, {});
export const signerOf = async (issuer: Issuer) =>
  new X509Certificate((await mint(issuer)).chain[0] ?? '').issuer;
export const rootsOf = (issuer: Issuer) =>
  issuer.bundle().x509Authorities.map(({ der }) => new X509Certificate(der).subject);
export const slotsOf = (issuer: Issuer) =>
  issuer.authorities().map(({ slot, subject }) => `${slot} ${subject}`);
