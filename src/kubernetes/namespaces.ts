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

/** @param changed called when the labels of some are others */
export function createNamespaces(
  changed: () => void,
  told: Pick<Mirror, 'heard' | 'refused'>,
): Namespaces {
  const known = new Map<string, Labels>();

  function put(object: unknown): boolean {
    const [name, labels] = read(object);
    const before = known.get(name);
    if (name === '' || (before && sameLabels(before, labels))) return false;
    known.set(name, labels);
    return true;
  }

  return {
    mirror: {
      replace(objects) {
        const listed = new Set(objects.map((object) => read(object)[0]));
        const gone = [...known.keys()].filter((name) => !listed.has(name));
        const changes = [...objects.map(put), ...gone.map((name) => known.delete(name))];
        if (changes.includes(true)) changed();
      },
      put(object) {
        if (put(object)) changed();
      },
      remove(object) {
        if (known.delete(read(object)[0])) changed();
      },
      ...told,
    },
    labelsOf: (name) => known.get(name),
    all: () => known,
  };
}

function read(object: unknown): [string, Labels] {
  const metadata = record(record(object)['metadata']);
  return [text(metadata['name']), texts(metadata['labels'])];
}

export function sameLabels(a: Labels, b: Labels): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
}
