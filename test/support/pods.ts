/** What a pod of the API is made of in tests; the rest is as a web server's would be. */
export interface PodParts {
  readonly uid?: string;
  readonly name?: string;
  readonly namespace?: string;
  readonly version?: string;
  readonly nodeName?: string;
  readonly serviceAccountName?: string | undefined;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly object[];
  /** Names; the id of each is `id-NAME`, unless `ids` has another. */
  readonly containers?: readonly string[];
  readonly inits?: readonly string[];
  readonly ephemeral?: readonly string[];
  /** Names of ephemeral ones that were added and have no status yet. */
  readonly added?: readonly string[];
  readonly phase?: string;
  readonly ids?: Readonly<Record<string, string>>;
}

/** A pod as the API server writes it. */
export function pod(parts: PodParts): object {
  const { uid = 'uid-1', name = 'web-1', version = '1', nodeName = 'node-1' } = parts;
  const { ids = {}, namespace = 'shop' } = parts;
  const status = (container: string) => statusOf(container, ids[container]);
  const { labels, annotations, ownerReferences, containers = ['web'] } = parts;
  const ephemeralContainers = [...(parts.ephemeral ?? []), ...(parts.added ?? [])];
  const serviceAccountName = 'serviceAccountName' in parts ? parts.serviceAccountName : 'web';
  return {
    metadata: {
      ...{ uid, name, namespace, resourceVersion: version },
      ...{ labels, annotations, ownerReferences },
    },
    spec: {
      ...{ nodeName, serviceAccountName },
      ephemeralContainers: ephemeralContainers.map((container) => ({ name: container })),
    },
    status: {
      phase: parts.phase ?? 'Running',
      containerStatuses: containers.map(status),
      initContainerStatuses: parts.inits?.map(status),
      ephemeralContainerStatuses: parts.ephemeral?.map(status),
    },
  };
}

const statusOf = (name: string, id = `id-${name}`) => ({
  name,
  image: `registry.example/${name}:1`,
  imageID: `registry.example/${name}@sha256:${name}`,
  containerID: `containerd://${id}`,
});
