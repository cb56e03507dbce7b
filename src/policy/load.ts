import { IdentityError, toIdentityError } from '../core/errors.ts';
import { faultText, kindOf, withPath, type YamlPath } from '../core/yaml.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { clusterIdFindings, type ClusterNames } from './cluster-id-findings.ts';
import { readListItems } from './documents.ts';
import { doubtsAbout } from './doubts.ts';
import type { Classes } from '../manifests/manifest.ts';
import type { ListItem } from './entry-list.ts';
import type { PolicyEntry, PolicyManifests, PolicyWarning } from './entry.ts';
import { entryFindings } from './entry-findings.ts';
import { isMapping, type Report } from './fields.ts';
import {
  listDocuments,
  type Documents,
  MAX_DOCUMENT_BYTES,
  MAX_POLICY_BYTES,
  readDocumentText,
} from './files.ts';
import { createManifestCollector, type ManifestCollector } from './manifests.ts';
import { readOwnEntry } from './own-entry.ts';
import { isSpireEntry, readSpireEntry } from './spire-entry.ts';
import { attestableHere, type Attestable, type Attests } from './unmatched.ts';
import { writableDoubt, writableDoubtAt } from './writable.ts';

/** Where a policy comes from. Plain data. */
export interface PolicySources {
  /** Files or folders, absolute, in order. */
  readonly paths: readonly string[];
  readonly trustDomain: TrustDomain;
  /** `issuer.ca_ttl`; entries that ask for more are warned of. */
  readonly caTtlMs?: number;
  /** What this daemon attests; entries that no process of this machine fits are warned of. */
  readonly attests?: Attests;
  /** Which manifests count; default: those of no class. */
  readonly classes?: Classes;
  /** What templates of manifests know of the configuration. */
  readonly clusterNames?: ClusterNames;
}

/** What the documents say, or everything that is wrong with them. */
export interface PolicyReading {
  readonly entries: readonly PolicyEntry[];
  readonly manifests: PolicyManifests;
  readonly warnings: readonly PolicyWarning[];
  /** The first `MAX_FAULTS` faults, in the order of the text. */
  readonly faults: readonly string[];
  readonly faultCount: number;
}

const NO_PODS = 'attestation.kubernetes is not enabled: a ClusterSPIFFEID applies to no process';
const MAX_FAULTS = 50;
const MAX_WARNINGS = 200;

interface Collected {
  readonly sources: PolicySources;
  /** Undefined where nobody asks what this machine attests. */
  readonly machine: Attestable | undefined;
  readonly entries: PolicyEntry[];
  readonly manifests: ManifestCollector;
  readonly warnings: PolicyWarning[];
  readonly faults: string[];
  faultCount: number;
  /** The first entry of each SPIFFE ID. */
  readonly firsts: Map<string, PolicyEntry>;
  /** The places of the others, by SPIFFE ID and selectors. */
  readonly others: Map<string, string>;
}

/** Reads all documents and goes on after a fault, so that `credence check` can show them all. */
export function readPolicy(
  sources: PolicySources,
  listed: readonly Documents[] = listDocuments(sources.paths),
): PolicyReading {
  const into: Collected = {
    sources,
    machine: sources.attests && attestableHere(sources.attests),
    entries: [],
    manifests: createManifestCollector(sources),
    warnings: [],
    faults: [],
    faultCount: 0,
    firsts: new Map(),
    others: new Map(),
  };
  let left = MAX_POLICY_BYTES;
  for (const { path, folder, files, fault } of listed) {
    if (fault) addFault(into, fault.message);
    const open = folder ? writableDoubtAt(path, 'folder') : undefined;
    if (open !== undefined) warn(into, path, 1, open);
    if (folder && files.length === 0) {
      warn(into, path, 1, 'the folder holds no *.yaml, *.yml or *.json: nobody gets an identity');
    }
    for (const file of files) attempt(into, () => (left -= readFile(into, file, left)));
  }
  if (sources.attests) {
    for (const warning of entryFindings(into.entries, sources.attests)) into.warnings.push(warning);
  }
  return { ...into, manifests: into.manifests.manifests };
}

/** Reads all documents; throws `ERR_POLICY` with the first fault and the number of the others. */
export function loadPolicy(sources: PolicySources, listed?: readonly Documents[]): PolicyReading {
  const reading = readPolicy(sources, listed);
  const [first] = reading.faults;
  if (first === undefined) return reading;
  const more = reading.faultCount - 1;
  const others = more === 0 ? '' : ` (and ${more} more ${more === 1 ? 'fault' : 'faults'})`;
  throw new IdentityError('ERR_POLICY', first + others, {
    hint: 'credence check lists all findings',
  });
}

/** Reads one file and returns its size. */
function readFile(into: Collected, file: string, left: number): number {
  const limit = Math.min(MAX_DOCUMENT_BYTES, left);
  const { text, bytes, stats } = readDocumentText(file, limit);
  const open = writableDoubt(file, 'file', stats);
  if (open !== undefined) warn(into, file, 1, open);
  let n = 0;
  let parents = 0;
  let firstLine = 1;
  for (const item of readListItems(text, file, (fault) => addFault(into, fault))) {
    if (item.kind === 'manifest') {
      readManifestItem(into, file, item);
      continue;
    }
    if (n === 0) firstLine = item.line;
    const entry = readEntry(into, file, item, n);
    if (entry) addEntry(into, file, item, ['entries', n], entry);
    if (isMapping(item.value) && item.value['parent_id'] !== undefined) parents++;
    n++;
  }
  if (parents > 0) {
    const message = `parent_id is not honoured (${parents} entries): they apply on every node that loads this file`;
    warn(into, file, firstLine, message);
  }
  return bytes;
}

/** A `ClusterStaticEntry` is an entry like any other; the rest is kept beside the entries. */
function readManifestItem(into: Collected, file: string, item: ListItem): void {
  const before = into.faultCount;
  const report: Report = (path, expected, which) =>
    addFault(into, faultText(file, item.locate(path, which), path, expected));
  const { clusterIds } = into.manifests.manifests;
  const known = clusterIds.length;
  const warnings: { line: number; message: string }[] = [];
  const entry = into.manifests.take(item.value, `${file}:${item.line}`, {
    report,
    warn: (message, path = []) => {
      const { line } = path.length > 0 ? item.locate(path, 'key') : item;
      warnings.push({ line, message: withPath(message, path) });
    },
    good: () => into.faultCount === before,
  });
  for (const { line, message } of warnings) warn(into, file, line, message);
  const { attests, clusterNames } = into.sources;
  const [id] = clusterIds.slice(known);
  if (id && into.machine && clusterNames) {
    for (const { key, why } of clusterIdFindings(id, into.machine, clusterNames)) {
      const path = ['spec', ...key];
      warn(into, file, item.locate(path, 'key').line, withPath(why, path));
    }
  }
  if (attests && attests.kubernetes !== true && isMapping(item.value)) {
    if (item.value['kind'] === 'ClusterSPIFFEID') warn(into, file, item.line, NO_PODS);
  }
  if (entry) addEntry(into, file, item, ['spec', 'spiffeID'], entry);
}

function readEntry(
  into: Collected,
  file: string,
  item: ListItem,
  n: number,
): PolicyEntry | undefined {
  const before = into.faultCount;
  const report: Report = (path, expected, which) => {
    // The place costs a second parse of the item: only for faults that are shown.
    const at =
      into.faults.length < MAX_FAULTS ? item.locate(path, which) : { line: item.line, column: 1 };
    addFault(into, faultText(file, at, ['entries', n, ...path], expected));
  };
  if (!isMapping(item.value)) {
    report([], `expected an entry with spiffe_id and selectors, got ${kindOf(item.value)}`);
    return undefined;
  }
  const read = isSpireEntry(item.value) ? readSpireEntry : readOwnEntry;
  const entry = read(item.value, into.sources.trustDomain, `${file}:${item.line}`, report);
  return before === into.faultCount ? entry : undefined;
}

function addEntry(
  into: Collected,
  file: string,
  item: ListItem,
  path: YamlPath,
  entry: PolicyEntry,
): void {
  const twin = findTwin(into, entry);
  if (twin !== undefined) {
    const at = item.locate(item.kind === 'entry' ? ['spiffe_id'] : path);
    const expected = `expected an entry of its own, but ${twin} has the same SPIFFE ID and selectors`;
    addFault(into, faultText(file, at, path, expected));
    return;
  }
  into.entries.push(entry);
  for (const doubt of doubtsAbout(entry, into.sources.caTtlMs)) warn(into, file, item.line, doubt);
}

/** The place of an entry with the same SPIFFE ID and selectors; else remembers this one. */
function findTwin(into: Collected, entry: PolicyEntry): string | undefined {
  const first = into.firsts.get(entry.spiffeId);
  if (!first) {
    into.firsts.set(entry.spiffeId, entry);
    return undefined;
  }
  const key = identityOf(entry);
  if (key === identityOf(first)) return first.source;
  const other = into.others.get(key);
  if (other === undefined) into.others.set(key, entry.source);
  return other;
}

function identityOf({ spiffeId, selectors }: PolicyEntry): string {
  return `${spiffeId}\n${[...selectors].sort().join('\n')}`;
}

function attempt(into: Collected, read: () => void): void {
  try {
    read();
  } catch (thrown) {
    addFault(into, toIdentityError(thrown, 'ERR_POLICY').message);
  }
}

function addFault(into: Collected, fault: string): void {
  into.faultCount++;
  if (into.faults.length < MAX_FAULTS) into.faults.push(fault);
}

function warn(into: Collected, file: string, line: number, message: string): void {
  if (into.warnings.length < MAX_WARNINGS) into.warnings.push({ file, line, message });
}
