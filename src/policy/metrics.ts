import { Counter, Gauge, type Registry } from 'prom-client';
import type { ReloadResult } from './in-force.ts';
import type { PolicyStore } from './store.ts';

const RESULTS: readonly ReloadResult[] = ['applied', 'unchanged', 'refused'];

/** Counts a store's entries and reloads in the registry; returns what ends the counting. */
export function registerPolicyMetrics(registry: Registry, store: PolicyStore): () => void {
  new Gauge({
    name: 'credence_policy_entries',
    help: 'Entries of the policy in force',
    registers: [registry],
    collect() {
      this.set(store.status().entries);
    },
  });
  const reloads = new Counter({
    name: 'credence_policy_reloads_total',
    help: 'Changes of the policy documents, by what became of them',
    labelNames: ['result'],
    registers: [registry],
  });
  for (const result of RESULTS) reloads.inc({ result }, 0);
  return store.onReload((result) => reloads.inc({ result }));
}
