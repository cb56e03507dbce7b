import { Counter, Gauge, type Registry } from 'prom-client';
import type { Outcome } from './answer.ts';
import type { RootSlot, SignerState } from './signer-state.ts';

/** What is counted, asked for anew at each scrape. */
export interface SignerFigures {
  state(): SignerState | undefined;
  waiting(): number;
  /** Seconds since the API server was heard of last; undefined before that. */
  heardSeconds(): number | undefined;
  areRootsTold(): boolean;
}

const SLOTS: readonly RootSlot[] = ['prepared', 'active', 'old'];

/** Registers them; the returned function counts what became of a request. */
export function registerSignerMetrics(
  registry: Registry,
  figures: SignerFigures,
): (outcome: Outcome | 'failed') => void {
  const registers = [registry];
  const requests = new Counter({
    name: 'credence_signer_requests_total',
    help: 'CertificateSigningRequests, by what became of them; failed ones are tried again',
    labelNames: ['result'],
    registers,
  });
  for (const result of ['signed', 'denied', 'others', 'gone', 'failed'])
    requests.inc({ result }, 0);
  new Gauge({
    name: 'credence_signer_root_not_after_timestamp_seconds',
    help: 'End of the last root of each slot, seconds since the epoch',
    labelNames: ['slot'],
    registers,
    collect() {
      this.reset();
      for (const slot of SLOTS) {
        const roots = figures.state()?.roots.filter((root) => root.slot === slot) ?? [];
        const ends = roots.map(({ certificate }) => certificate.validity.notAfterMs);
        if (ends.length > 0) this.set({ slot }, Math.max(...ends) / 1000);
      }
    },
  });
  gauge('credence_signer_waiting_requests', 'Requests that are not answered yet', () =>
    figures.waiting(),
  );
  gauge(
    'credence_signer_revoked_nodes',
    'Nodes that were cut off',
    () => figures.state()?.revoked.size,
  );
  gauge('credence_signer_heard_seconds', 'Since the API server was heard of', () =>
    figures.heardSeconds(),
  );
  gauge('credence_signer_roots_told', 'Whether nodes find the roots as they are: 1 or 0', () =>
    figures.areRootsTold() ? 1 : 0,
  );
  return (result) => requests.inc({ result });

  function gauge(name: string, help: string, value: () => number | undefined): void {
    new Gauge({
      ...{ name, help, registers },
      collect() {
        this.reset();
        this.set(value() ?? NaN);
      },
    });
  }
}
