import fs from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { openIssuer, type IssuerConfig } from '../../src/issuer/issuer.ts';
import { issuerConfig, issuerDeps, temporaryFolder, WEB } from './issuer.ts';

/** The least that can be asked for. */
export const ask = { id: WEB, dnsNames: [] };

/** A data directory and how to start on it, as often as wanted. */
export function dataDirectory(t: TestContext) {
  const dataDir = join(temporaryFolder(t), 'data');
  const deps = issuerDeps();
  return {
    dataDir,
    ...deps,
    journal: join(dataDir, 'journal.json'),
    keys: () => fs.readdirSync(join(dataDir, 'keys')).sort(),
    async start(overrides: Partial<IssuerConfig> = {}) {
      const config = issuerConfig({ dataDir, keyManager: 'disk', ...overrides });
      const issuer = await openIssuer(config, deps);
      t.after(() => issuer.close());
      return issuer;
    },
  };
}

export type DataDirectory = ReturnType<typeof dataDirectory>;

/** Starts once, so that there is something to damage. */
export async function usedDirectory(t: TestContext): Promise<DataDirectory> {
  const data = dataDirectory(t);
  (await data.start()).close();
  return data;
}
