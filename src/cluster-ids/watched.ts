import type { Logger } from '../core/log.ts';
import { isMapping, type Mapping } from '../manifests/fields.ts';

/** What reading an object of the API server brought. */
export interface Reading<T> {
  /** Undefined when it is not for this daemon, or wrong. */
  readonly value: T | undefined;
  readonly faults: readonly string[];
  readonly warnings: readonly string[];
}

/** One kind of manifest as the API server tells of it. */
export interface Watched<T> {
  replace(objects: readonly unknown[]): void;
  put(object: unknown): void;
  remove(object: unknown): void;
  /** In the order in which they were made; the same list while nothing has changed. */
  values(): readonly T[];
  /** What is wrong with those that are not in force as they stand. */
  readonly faults: () => readonly Fault[];
  /** The `status` that the API server has of it. */
  statusOf(name: string): unknown;
}

interface Fault {
  readonly name: string;
  readonly fault: string;
  /** Whether the version before it is still in force. */
  readonly kept: boolean;
}

interface Known<T> {
  readonly uid: string;
  readonly order: string;
  /** One spelling of all that matters. */
  readonly content: string;
  status: unknown;
  /** The last good one. */
  readonly value: T | undefined;
  readonly fault: string | undefined;
}

/**
 * Keeps the last good version of each object: a change for the worse takes nothing away, and is said.
 *
 * @param changed called after each change of what is in force
 */
export function createWatched<T>(
  kind: string,
  read: (object: Mapping) => Reading<T>,
  { log, changed }: { readonly log: Logger; readonly changed: () => void },
): Watched<T> {
  const known = new Map<string, Known<T>>();
  let values: readonly T[] | undefined;

  /** Whether something else is in force now. */
  function take(object: unknown): boolean {
    const { name, content, status } = partsOf(object);
    if (name === '' || !isMapping(object)) return false;
    const before = known.get(name);
    if (before?.content === content) {
      before.status = status;
      return false;
    }
    const reading = read(object);
    const next = successor(before, reading, object);
    say(log, `${kind}/${name}`, reading, next.value !== undefined);
    return put(name, next);
  }

  const tell = (isOther: boolean) => (isOther ? changed() : undefined);

  function put(name: string, next: Known<T> | undefined): boolean {
    const before = known.get(name);
    if (next) known.set(name, next);
    else known.delete(name);
    if (next?.value === before?.value) return false;
    values = undefined;
    return true;
  }

  return {
    replace(objects) {
      const listed = new Set(objects.map((object) => partsOf(object).name));
      const gone = [...known.keys()].filter((name) => !listed.has(name));
      // Each has its turn, whatever came of the one before.
      const changes = [...objects.map(take), ...gone.map((name) => put(name, undefined))];
      tell(changes.includes(true));
    },
    put: (object) => tell(take(object)),
    remove: (object) => tell(put(partsOf(object).name, undefined)),
    values: () => (values ??= inOrder(known.values())),
    faults: () => faultsOf(known),
    statusOf: (name) => known.get(name)?.status,
  };
}

/** What counts of an object after this reading of it. */
function successor<T>(
  before: Known<T> | undefined,
  { value, faults }: Reading<T>,
  object: Mapping,
): Known<T> {
  const { name, uid, createdAt, content, status } = partsOf(object);
  const [fault] = faults;
  // One that is made again under its name is another one.
  const good = before?.uid === uid ? before.value : undefined;
  const order = `${createdAt} ${name}`;
  return { uid, order, content, status, fault, value: fault === undefined ? value : good };
}

function say(
  log: Logger,
  path: string,
  { faults, warnings }: Reading<unknown>,
  kept: boolean,
): void {
  if (faults.length > 0) {
    const detail = kept ? 'its last good version stays' : 'it has no effect';
    log.warn({ path, reason: faults.join('; '), detail }, 'manifest refused');
  }
  for (const detail of warnings) log.warn({ path, detail }, 'policy warning');
}

function faultsOf(known: ReadonlyMap<string, Known<unknown>>): readonly Fault[] {
  return [...known].flatMap(([name, { fault, value }]) =>
    fault === undefined ? [] : [{ name, fault, kept: value !== undefined }],
  );
}

function inOrder<T>(all: Iterable<Known<T>>): readonly T[] {
  return [...all]
    .sort((a, b) => (a.order < b.order ? -1 : 1))
    .flatMap(({ value }) => (value === undefined ? [] : [value]));
}

/** The `spec` is what counts; a status that somebody writes changes nothing. */
function partsOf(object: unknown) {
  const top = isMapping(object) ? object : {};
  const metadata = isMapping(top['metadata']) ? top['metadata'] : {};
  const text = (key: string) => (typeof metadata[key] === 'string' ? metadata[key] : '');
  const uid = text('uid');
  return {
    name: text('name'),
    uid,
    createdAt: text('creationTimestamp'),
    content: JSON.stringify([uid, top['spec']]),
    status: top['status'],
  };
}
