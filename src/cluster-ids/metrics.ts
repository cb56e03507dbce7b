import { Gauge, type Registry } from 'prom-client';

/** Read at each scrape. */
export interface ManifestFigures {
  /** Of any kind, in force. */
  readonly inForce: () => number;
  /** Of which the version that the cluster has is not in force. */
  readonly refused: () => number;
  /** Of all `ClusterSPIFFEID`s together, the pods of this node that one selects and gives no valid ID. */
  readonly renderFailures: () => number;
  /** Pods of this node of which nobody knows yet whether a `ClusterSPIFFEID` is for them. */
  readonly undecided: () => number;
}

export function registerManifestMetrics(registry: Registry, figures: ManifestFigures): void {
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  gauge('credence_manifests', "Manifests of the cluster's policy in force", figures.inForce);
  gauge(
    'credence_manifests_refused',
    'Manifests of the cluster whose newest version is wrong',
    figures.refused,
  );
  gauge(
    'credence_manifest_render_failures',
    'Pods of this node that a ClusterSPIFFEID selects and gives no valid ID, for each ClusterSPIFFEID',
    figures.renderFailures,
  );
  gauge(
    'credence_manifest_undecided_pods',
    'Pods of this node of which it is not known yet what a ClusterSPIFFEID gives them',
    figures.undecided,
  );
}
