import { readFileSync } from 'node:fs';

/**
 * The version of the package; put in place by the build, read from package.json when the source
 * runs without one.
 */
export const VERSION: string = readVersion();

declare const CREDENCE_VERSION: string | undefined;

function readVersion(): string {
  if (typeof CREDENCE_VERSION === 'string') return CREDENCE_VERSION;
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  const parsed: unknown = JSON.parse(text);
  return typeof parsed === 'object' && parsed && 'version' in parsed ? String(parsed.version) : '0';
}
