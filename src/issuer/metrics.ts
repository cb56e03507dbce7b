import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Clock } from '../core/clock.ts';
import type { X509Svid } from '../identity/svid.ts';
import type { CaObserver } from './ca-steps.ts';
import type { UpstreamReload } from './ca-source.ts';
import type { Issuer } from './issuer.ts';
import type { RevocationStatus } from './revocations.ts';

const MINT_BUCKETS_SECONDS = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 1, 5,
];

type MintOf<Request, Options> = (request: Request, options: Options) => Promise<X509Svid>;

/**
 * Mints as before, with counts and times in `registry`. What was given up, because nobody waits for
 * it any more, is neither issued nor an error.
 */
export function withMintMetrics<Request, Options extends { readonly signal?: AbortSignal }>(
  mint: MintOf<Request, Options>,
  registry: Registry,
  clock: Pick<Clock, 'monotonic'>,
): MintOf<Request, Options> {
  const registers = [registry];
  const svids = new Counter({
    name: 'credence_issuer_x509_svids_total',
    help: 'X.509-SVIDs asked of the issuer, by result',
    labelNames: ['result'],
    registers,
  });
  for (const result of ['issued', 'error']) svids.inc({ result }, 0);
  const seconds = new Histogram({
    name: 'credence_issuer_mint_seconds',
    help: 'Time from asking for an X.509-SVID to having it',
    buckets: MINT_BUCKETS_SECONDS,
    registers,
  });
  return async (request, options) => {
    const started = clock.monotonic();
    try {
      const svid = await mint(request, options);
      seconds.observe((clock.monotonic() - started) / 1000);
      svids.inc({ result: 'issued' });
      return svid;
    } catch (thrown) {
      if (!options.signal?.aborted) svids.inc({ result: 'error' });
      throw thrown;
    }
  };
}

/** Shows in `registry` when each signing authority ends; none as long as there is no issuer. */
export function registerAuthorityMetrics(
  registry: Registry,
  issuer: () => Pick<Issuer, 'authorities'> | undefined,
): void {
  new Gauge({
    name: 'credence_issuer_ca_not_after_timestamp_seconds',
    help: 'End of each signing authority',
    labelNames: ['slot'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { slot, notAfterMs } of issuer()?.authorities() ?? []) {
        // There may be several that are only kept, and nobody waits for their end.
        if (slot !== 'kept') this.set({ slot }, notAfterMs / 1000);
      }
    },
  });
}

/** Counts in `registry` how authorities follow one another. */
export function countRotations(registry: Registry): CaObserver['rotated'] {
  const rotations = new Counter({
    name: 'credence_issuer_ca_rotations_total',
    help: 'Steps in the rotation of authorities: made and published, and taken into use',
    labelNames: ['level', 'step'],
    registers: [registry],
  });
  for (const level of ['root', 'issuing']) {
    for (const step of ['prepare', 'activate']) rotations.inc({ level, step }, 0);
  }
  return (level, step) => rotations.inc({ level, step });
}

/** Counts in `registry` what an authority elsewhere answers, and shows when it last did. */
export function countAnswers(
  registry: Registry,
  issuer: () => Pick<Issuer, 'upstream'> | undefined,
): CaObserver['answered'] {
  const registers = [registry];
  const requests = new Counter({
    name: 'credence_issuer_upstream_requests_total',
    help: 'Issuing CAs asked of an authority elsewhere, by what came of it',
    labelNames: ['result'],
    registers,
  });
  for (const result of ['issued', 'error']) requests.inc({ result }, 0);
  new Gauge({
    name: 'credence_issuer_upstream_last_success_timestamp_seconds',
    help: 'When an authority elsewhere last issued a CA, or files of one were last found good; 0: not in this run',
    registers,
    collect() {
      this.set((issuer()?.upstream()?.loadedAtMs ?? 0) / 1000);
    },
  });
  return (result) => requests.inc({ result });
}

/** Shows in `registry` what is revoked and when the CRLs end; that as long as there are any. */
export function registerCrlMetrics(
  registry: Registry,
  status: () => RevocationStatus | undefined,
): void {
  const registers = [registry];
  new Gauge({
    name: 'credence_issuer_revoked_certificates',
    help: 'Certificates that are listed as revoked',
    registers,
    collect() {
      this.set(status()?.revoked ?? 0);
    },
  });
  new Gauge({
    name: 'credence_issuer_crl_next_update_timestamp_seconds',
    help: 'Earliest nextUpdate of the CRLs in force; absent while nothing is revoked',
    // Without a label prom-client shows 0 for what was never set.
    labelNames: ['quantile'],
    registers,
    collect() {
      this.reset();
      const { nextUpdateMs } = status() ?? {};
      if (nextUpdateMs !== undefined) this.set({ quantile: 'min' }, nextUpdateMs / 1000);
    },
  });
}

/** Counts in `registry` what becomes of files that change; returns who is to be told. */
export function countReloads(registry: Registry): (result: UpstreamReload) => void {
  const reloads = new Counter({
    name: 'credence_issuer_upstream_reloads_total',
    help: 'Changes of the files that the issuing CA comes from, by what became of them',
    labelNames: ['result'],
    registers: [registry],
  });
  for (const result of ['applied', 'unchanged', 'refused'] as const) reloads.inc({ result }, 0);
  return (result) => reloads.inc({ result });
}
