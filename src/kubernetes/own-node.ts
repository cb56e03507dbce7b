import type { Mirror } from './follow.ts';
import { record, text, texts } from './fields.ts';
import { sameLabels } from './namespaces.ts';

/** What is kept of the node that this is. */
export interface Node {
  readonly name: string;
  readonly uid: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly annotations: ReadonlyMap<string, string>;
}

/**
 * The node of this name. Its kubelet writes its status every few minutes, some controllers its
 * annotations: `changed` is called for labels and annotations that are others.
 */
export function createOwnNode(
  name: string,
  changed: () => void,
  told: Pick<Mirror, 'heard' | 'refused'>,
): { readonly mirror: Mirror; readonly current: () => Node | undefined } {
  let node: Node | undefined;

  function take(next: Node | undefined): void {
    const before = node;
    const same =
      before?.uid === next?.uid &&
      (!before ||
        !next ||
        (sameLabels(before.labels, next.labels) &&
          sameLabels(before.annotations, next.annotations)));
    if (same) return;
    node = next;
    changed();
  }
  const ours = (object: unknown) => {
    const read = readNode(object);
    return read.name === name ? read : undefined;
  };

  return {
    mirror: {
      replace: (objects) => take(objects.map(ours).find((one) => one !== undefined)),
      put(object) {
        const next = ours(object);
        if (next) take(next);
      },
      remove(object) {
        if (ours(object)) take(undefined);
      },
      ...told,
    },
    current: () => node,
  };
}

/** Reads an object of the API; whatever is not there is empty. */
export function readNode(object: unknown): Node {
  const metadata = record(record(object)['metadata']);
  return {
    name: text(metadata['name']),
    uid: text(metadata['uid']),
    labels: texts(metadata['labels']),
    annotations: texts(metadata['annotations']),
  };
}
