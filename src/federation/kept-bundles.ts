import { mkdirSync, readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from '../core/atomic-file.ts';
import { errorText, IdentityError, systemCode } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { X509Authority } from '../identity/bundle.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { ForeignBundles } from './foreign-bundles.ts';
import { readBundleFile, trustDomainOfFile } from './bundle-file.ts';
import { parseBundle, type BundleFormat } from './parse.ts';

/** Bundles that an operator sets by hand; a restart finds them again. */
export interface KeptBundles {
  /**
   * Puts a bundle in the place of what there was of that domain. `ERR_BAD_REQUEST` for a document that
   * is none, `ERR_DISK` when it cannot be kept; then nothing has changed.
   */
  set(trustDomain: TrustDomain, text: string, format: BundleFormat | undefined): void;
  /** Whether there was one. `ERR_DISK` when it cannot be taken away. */
  delete(trustDomain: TrustDomain): boolean;
}

/** More foreign trust domains are not set by hand. */
const MAX_KEPT = 1024;

/**
 * As `TD.json` (SPIFFE bundles) in a folder of their own. A file that is no good
 * any more is said and left out: who federates with that domain then trusts nobody of it. Without a
 * folder they end with the process.
 */
export function openKeptBundles(
  folder: string | undefined,
  ownTrustDomain: TrustDomain,
  bundles: Pick<ForeignBundles, 'put'>,
  log: Logger,
): KeptBundles {
  const kept =
    folder === undefined ? new Map<TrustDomain, readonly X509Authority[]>() : readKept(folder, log);
  bundles.put('set', new Map(kept));

  return {
    set(trustDomain, text, format) {
      if (trustDomain === ownTrustDomain) {
        throw new IdentityError('ERR_BAD_REQUEST', `${trustDomain} is the own trust domain`);
      }
      const { roots } = parseBundle(text, format);
      if (!kept.has(trustDomain) && kept.size >= MAX_KEPT) {
        throw new IdentityError('ERR_BAD_REQUEST', `there are ${MAX_KEPT} bundles set already`);
      }
      if (folder !== undefined) {
        ensureFolder(folder);
        writeFileAtomic(pathIn(folder, trustDomain), documentOf(roots), 0o600);
      }
      kept.set(trustDomain, roots);
      bundles.put('set', new Map(kept));
    },
    delete(trustDomain) {
      const known = kept.has(trustDomain);
      if (folder !== undefined) remove(pathIn(folder, trustDomain));
      kept.delete(trustDomain);
      bundles.put('set', new Map(kept));
      return known;
    },
  };
}

const pathIn = (folder: string, trustDomain: TrustDomain) => join(folder, `${trustDomain}.json`);

/** A JWK Set with what reading it needs and no more; one form for all, also for a set without roots. */
function documentOf(roots: readonly X509Authority[]): string {
  const keys = roots.map(({ der }) => ({
    use: 'x509-svid',
    kty: 'EC',
    x5c: [Buffer.from(der).toString('base64')],
  }));
  return `${JSON.stringify({ keys }, undefined, 2)}\n`;
}

function readKept(folder: string, log: Logger): Map<TrustDomain, readonly X509Authority[]> {
  const kept = new Map<TrustDomain, readonly X509Authority[]>();
  for (const name of list(folder)) {
    const trustDomain = trustDomainOfFile(name);
    if (trustDomain === undefined) continue;
    try {
      kept.set(trustDomain, readBundleFile(join(folder, name)).roots);
    } catch (thrown) {
      log.error(
        { path: join(folder, name), reason: errorText(thrown) },
        'a kept bundle is no good',
      );
    }
  }
  return kept;
}

function list(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch (thrown) {
    if (systemCode(thrown) === 'ENOENT') return [];
    throw disk(`cannot list ${folder}`, thrown);
  }
}

function ensureFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (thrown) {
    throw disk(`cannot create ${folder}`, thrown);
  }
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch (thrown) {
    if (systemCode(thrown) !== 'ENOENT') throw disk(`cannot remove ${path}`, thrown);
  }
}

function disk(what: string, thrown: unknown): IdentityError {
  return new IdentityError('ERR_DISK', `${what}: ${errorText(thrown)}`, { cause: thrown });
}
