import { existsSync } from 'node:fs';
import type { Config } from '../config.ts';
import { writableDoubtAt } from '../policy/writable.ts';

/** What is probably not meant so in a configuration that is valid, for `check` and for the start. */
export function configWarnings(config: Config): readonly string[] {
  const warnings: string[] = [];
  const open = writableDoubtAt(config.file, 'file');
  if (open !== undefined) warnings.push(`${config.file}: ${open}`);
  const { keyType, keyManager, upstream } = config.issuer;
  if (keyType === 'ec-p384') {
    warnings.push(
      `${config.file}: issuer.key_type: an Envoy client with default settings refuses servers with ec-p384`,
    );
  }
  if (keyManager === 'memory' && upstream) {
    warnings.push(
      `${config.file}: issuer.key_manager.type: memory forgets at a restart which roots were trusted before, while SVIDs of them may live`,
    );
  } else if (keyManager === 'memory') {
    warnings.push(
      `${config.file}: issuer.key_manager.type: memory makes a new root at each start, so running peers lose trust in new SVIDs`,
    );
  }
  if (config.policyPaths.length === 0) {
    warnings.push(`${config.file}: policy.paths: no policy, so nobody gets an identity`);
  }
  if (!existsSync('/proc/self/fd')) warnings.push('/proc is not mounted: nobody can be attested');
  return warnings;
}
