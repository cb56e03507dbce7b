/** An object of the cluster that is in a namespace. */
export interface ObjectName {
  readonly namespace: string;
  readonly name: string;
}

/** The collection of a kind in the namespace of an object. */
export function collectionOf(kind: 'secrets' | 'configmaps' | 'pods', { namespace }: ObjectName) {
  return `/api/v1/namespaces/${namespace}/${kind}`;
}

/** What is asked for in order to follow one object alone. */
export const onlyNamed = (name: string) =>
  `fieldSelector=${encodeURIComponent(`metadata.name=${name}`)}`;
