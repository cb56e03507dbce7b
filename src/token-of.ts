import type { Config } from './config.ts';
import { openTokenKeys, type TokenKeys } from './pkcs11/token-keys.ts';
import type { LinkDeps } from './pkcs11/token-link.ts';
import { startTokenProcess } from './pkcs11/token-process.ts';

/** CA keys on a token, opened; undefined when `issuer.key_manager.type` says another place. */
export async function openTokenOf(
  { trustDomain, dataDir, issuer }: Pick<Config, 'trustDomain' | 'dataDir' | 'issuer'>,
  { clock, random, log }: Omit<LinkDeps, 'start'>,
): Promise<TokenKeys | undefined> {
  const { pkcs11, caKeyType } = issuer;
  if (!pkcs11) return undefined;
  const config = { ...pkcs11, trustDomain, dataDir, caKeyType };
  return openTokenKeys(config, { clock, random, log, start: startTokenProcess });
}
