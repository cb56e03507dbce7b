import { readdirSync } from 'node:fs';
import { Counter, Gauge, type Registry } from 'prom-client';

/**
 * `credence_build_info` and the customary figures of the process. Not prom-client's own set: its
 * event loop monitor wakes an idle daemon a hundred times a second.
 */
export function registerBuildInfo(registry: Registry, version: string, startedAtMs: number): void {
  const registers = [registry];
  new Gauge({
    name: 'credence_build_info',
    help: 'Always 1; the labels tell the version',
    labelNames: ['version', 'node_version'],
    registers,
  }).set({ version, node_version: process.version }, 1);
  new Gauge({
    name: 'process_start_time_seconds',
    help: 'Start of the process, seconds since the epoch',
    registers,
  }).set(startedAtMs / 1000);
  new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Memory of the process that is in RAM',
    registers,
    collect() {
      this.set(process.memoryUsage.rss());
    },
  });
  new Gauge({
    name: 'process_open_fds',
    help: 'Open file descriptors',
    registers,
    collect() {
      this.set(readdirSync('/proc/self/fd').length);
    },
  });
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'CPU time of the process, user and system',
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
}
