import { collectDefaultMetrics, Gauge, type Registry } from 'prom-client';

/** `credence_build_info` and the usual figures of the process. */
export function registerBuildInfo(registry: Registry, version: string): void {
  new Gauge({
    name: 'credence_build_info',
    help: 'Always 1; the labels tell the version',
    labelNames: ['version', 'node_version'],
    registers: [registry],
  }).set({ version, node_version: process.version }, 1);
  collectDefaultMetrics({ register: registry });
}
