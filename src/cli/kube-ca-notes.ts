import { accessSync, constants } from 'node:fs';
import type { Config } from '../config.ts';
import { errorText } from '../core/errors.ts';

/** Files without which no CA is asked for through a cluster, and that are not there on this machine. */
export function kubeCaNotes({ file, issuer: { remote } }: Config): readonly string[] {
  if (remote?.type !== 'kubernetes_csr' && remote?.type !== 'cert_manager') return [];
  const { type, caFile, tokenFile, roots } = remote;
  const files = [
    ['ca_file', caFile],
    ['token_file', tokenFile],
    ...(roots?.kind === 'file' ? [['roots.file', roots.path]] : []),
  ] as const;
  return files.flatMap(([key = '', path = '']) => {
    try {
      accessSync(path, constants.R_OK);
      return [];
    } catch (thrown) {
      const why = errorText(thrown);
      const setting = `issuer.upstream.${type}.${key}`;
      return [`${file}: ${setting}: cannot use ${path} now: ${why}; without it no CA is asked for`];
    }
  });
}
