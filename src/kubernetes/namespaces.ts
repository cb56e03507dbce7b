import type { Mirror } from './follow.ts';
import { record, text, texts } from './fields.ts';

type Labels = ReadonlyMap<string, string>;

/** The namespaces of the cluster and their labels. */
export interface Namespaces {
  readonly mirror: Mirror;
  /** Undefined while nobody has told of it. */
  readonly labelsOf: (name: string) => Labels | undefined;
  readonly all: () => ReadonlyMap<string, Labels>;
}

/** @param changed called with those whose labels are others */
export function createNamespaces(
  changed: (names: ReadonlySet<string>) => void,
  told: Pick<Mirror, 'heard' | 'refused'>,
): Namespaces {
  const known = new Map<string, Labels>();

  /** Names it when its labels are others. */
  function put(object: unknown): readonly string[] {
    const [name, labels] = readNamespace(object);
    const before = known.get(name);
    if (name === '' || (before && sameLabels(before, labels))) return [];
    known.set(name, labels);
    return [name];
  }
  const drop = (name: string) => (known.delete(name) ? [name] : []);
  function tell(names: readonly string[]): void {
    if (names.length > 0) changed(new Set(names));
  }

  return {
    mirror: {
      replace(objects) {
        const listed = new Set(objects.map((object) => readNamespace(object)[0]));
        const gone = [...known.keys()].filter((name) => !listed.has(name));
        tell([...objects.flatMap(put), ...gone.flatMap(drop)]);
      },
      put: (object) => tell(put(object)),
      remove: (object) => tell(drop(readNamespace(object)[0])),
      ...told,
    },
    labelsOf: (name) => known.get(name),
    all: () => known,
  };
}

/** Its name, empty when it is none, and its labels. */
export function readNamespace(object: unknown): [name: string, labels: Labels] {
  const metadata = record(record(object)['metadata']);
  return [text(metadata['name']), texts(metadata['labels'])];
}

export function sameLabels(a: Labels, b: Labels): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
}
