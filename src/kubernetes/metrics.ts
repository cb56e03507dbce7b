import { Gauge, type Registry } from 'prom-client';

/** Read at each scrape. */
export interface PodFigures {
  readonly pods: () => number;
  readonly waiting: () => number;
  /** Since the API server, or the kubelet, was last heard, in milliseconds; at first since the start. */
  readonly silentMs: () => number;
}

export function registerPodMetrics(registry: Registry, figures: PodFigures): void {
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  gauge('credence_kubernetes_pods', 'Pods of this node that are known', figures.pods);
  gauge(
    'credence_kubernetes_waiting_processes',
    'Processes whose pod or container is not known yet',
    figures.waiting,
  );
  gauge(
    'credence_kubernetes_heard_seconds',
    'Time since the API server or the kubelet last told anything, bookmarks included; before that since the start',
    () => figures.silentMs() / 1000,
  );
}
