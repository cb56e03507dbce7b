import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../core/clock.ts';
import { errorText, IdentityError, toIdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import { createReloadSchedule, RETRY_MS } from '../core/reload-schedule.ts';
import { trail, watchFolders } from '../core/watch-folders.ts';
import type { X509Authority } from '../identity/bundle.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { readBundleFile, trustDomainOfFile } from './bundle-file.ts';
import type { ForeignBundles } from './foreign-bundles.ts';

/** A file of the folder that is not used as it is now. */
export interface BundleFault {
  readonly path: string;
  readonly reason: string;
}

/** A folder of bundles, followed until closed. */
export interface BundleFolder {
  faults(): readonly BundleFault[];
  close(): void;
}

interface FolderDeps {
  readonly ownTrustDomain: TrustDomain;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Takes `TD.pem` and `TD.json` of the folder into the bundles and follows them. A file that is no good
 * keeps the last good bundle of its domain, loudly; one that is gone takes it away. A folder that cannot
 * be read takes nothing away.
 */
export function followBundleFolder(
  folder: string,
  bundles: Pick<ForeignBundles, 'put'>,
  { ownTrustDomain, clock, log }: FolderDeps,
): BundleFolder {
  const good = new Map<TrustDomain, readonly X509Authority[]>();
  let faults: readonly BundleFault[] = [];
  const schedule = createReloadSchedule(clock, () => Promise.resolve(read()));
  const watch = watchFolders(schedule.changed, (err) => {
    log.warn({ err, path: folder, retry_in_ms: RETRY_MS }, 'the bundles cannot be watched');
    schedule.blind();
  });
  read();

  function read(): void {
    const found = watch.rearm((onFolder) => {
      trail(folder, (place, name) => onFolder(place, (changed) => changed === name));
      onFolder(folder, () => true);
      return readFolder(folder, ownTrustDomain);
    });
    for (const domain of good.keys())
      if (found.names && !found.names.has(domain)) good.delete(domain);
    for (const [domain, roots] of found.good) good.set(domain, roots);
    sayNew(found.faults);
    faults = found.faults;
    if (faults.length === 0) schedule.good();
    else schedule.refused();
    bundles.put('folder', new Map(good));
  }

  function sayNew(all: readonly BundleFault[]): void {
    const before = new Set(faults.map(keyOf));
    for (const fault of all) {
      if (!before.has(keyOf(fault))) log.warn({ ...fault }, 'a bundle file is refused');
    }
  }

  return {
    faults: () => faults,
    close() {
      schedule.close();
      watch.close();
    },
  };
}

const keyOf = ({ path, reason }: BundleFault) => `${path}\n${reason}`;

/** What is in the folder now; `names` is undefined when that cannot be told. */
export interface FolderContent {
  readonly names: ReadonlySet<TrustDomain> | undefined;
  readonly good: ReadonlyMap<TrustDomain, readonly X509Authority[]>;
  readonly faults: readonly BundleFault[];
}

export function readFolder(folder: string, ownTrustDomain: TrustDomain): FolderContent {
  const faults: BundleFault[] = [];
  let names: readonly string[];
  try {
    names = readdirSync(folder).sort();
  } catch (thrown) {
    return {
      names: undefined,
      good: new Map(),
      faults: [{ path: folder, reason: `it cannot be read: ${errorText(thrown)}` }],
    };
  }
  const files = new Map<TrustDomain, string>();
  const good = new Map<TrustDomain, readonly X509Authority[]>();
  for (const name of names) {
    const domain = trustDomainOfFile(name);
    if (domain === undefined) continue;
    const path = join(folder, name);
    try {
      if (domain === ownTrustDomain) throw wrong('it is of the own trust domain');
      const other = files.get(domain);
      if (other !== undefined) throw wrong(`${other} has the same trust domain`);
      files.set(domain, name);
      good.set(domain, readBundleFile(path).roots);
    } catch (thrown) {
      faults.push({ path, reason: toIdentityError(thrown).message });
    }
  }
  return { names: new Set(files.keys()), good, faults };
}

const wrong = (why: string) => new IdentityError('ERR_BAD_REQUEST', why);
