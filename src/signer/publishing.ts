import { backoffDelay } from '../core/backoff.ts';
import { abortReason, sleep, type Clock } from '../core/clock.ts';
import { errorText } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import { pemBytes } from '../identity/pem.ts';
import { ApiRefusal, type Api } from '../kubernetes/api.ts';
import { list, record, text, type Fields } from '../kubernetes/fields.ts';
import { collectionOf, type ObjectName } from './object-name.ts';
import type { PublishedRoots } from './roots.ts';

/** What is to be written where nodes read it. */
export interface Told {
  /** PEM of all roots to be trusted. */
  readonly pem: string;
  /** Subject key identifiers, hex, of roots below which nobody is to stay; a line each. */
  readonly left: string;
}

/** An object of the cluster that has to say what is told. */
export interface Place {
  /** For messages. */
  readonly what: string;
  readonly name: string;
  /** Its collection; undefined where the server has none of the kind. */
  collection(options: { signal: AbortSignal }): Promise<string | undefined>;
  isRight(object: Fields, told: Told): boolean;
  /** The object, or a new one, that says it. */
  withTold(object: Fields | undefined, told: Told): object;
}

/** Keys of the ConfigMap: what other tools expect of a CA, and what daemons follow besides. */
export const ROOTS_KEY = 'ca.crt';
export const LEFT_KEY = 'tainted';
const LABELS = { 'app.kubernetes.io/name': 'credence-signer' };

export function configMapPlace(configMap: ObjectName): Place {
  return {
    what: `ConfigMap ${configMap.namespace}/${configMap.name}`,
    name: configMap.name,
    collection: () => Promise.resolve(collectionOf('configmaps', configMap)),
    isRight(object, { pem, left }) {
      const data = record(object['data']);
      return data[ROOTS_KEY] === pem && text(data[LEFT_KEY]) === left;
    },
    withTold(object, { pem, left }) {
      const data = { ...record(object?.['data']), [ROOTS_KEY]: pem, [LEFT_KEY]: left };
      if (object) return { ...object, data };
      const metadata = { ...configMap, labels: LABELS };
      return { apiVersion: 'v1', kind: 'ConfigMap', metadata, data };
    },
  };
}

const GROUP = '/apis/certificates.k8s.io';
const VERSIONS = ['v1', 'v1beta1', 'v1alpha1'];

/** A ClusterTrustBundle that belongs to our signer name. */
export function trustBundlePlace(name: string, signerName: string, api: Pick<Api, 'get'>): Place {
  let version: string | undefined;

  async function find(signal: AbortSignal): Promise<string | undefined> {
    for (const one of VERSIONS) {
      const resources = await api.get(`${GROUP}/${one}`, { signal }).then(
        (document) => list(record(document)['resources']),
        (thrown: unknown) => {
          if (thrown instanceof ApiRefusal && thrown.code === 404) return [];
          throw thrown;
        },
      );
      if (resources.some((r) => text(record(r)['name']) === 'clustertrustbundles')) return one;
    }
    return undefined;
  }

  return {
    what: `ClusterTrustBundle ${name}`,
    name,
    async collection({ signal }) {
      version ??= await find(signal);
      return version && `${GROUP}/${version}/clustertrustbundles`;
    },
    isRight: (object, { pem }) => record(object['spec'])['trustBundle'] === pem,
    withTold(object, { pem }) {
      const spec = { signerName, trustBundle: pem };
      if (object) return { ...object, spec };
      const apiVersion = `certificates.k8s.io/${version ?? ''}`;
      return { apiVersion, kind: 'ClusterTrustBundle', metadata: { name, labels: LABELS }, spec };
    },
  };
}

export interface PublishingDeps {
  readonly api: Pick<Api, 'get' | 'send'>;
  /** What is to be told now, asked for anew. */
  readonly fresh: (options: { signal: AbortSignal }) => Promise<PublishedRoots>;
  /** DER of further roots that are trusted: where nodes come from. */
  readonly extraRoots: () => readonly Buffer[];
  /** It is there, as of this. */
  readonly told: (published: PublishedRoots) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Keeps one object as it has to be, whatever becomes of it. */
export interface Publisher {
  /** Until the signal; rejects with its reason alone. */
  run(): Promise<never>;
  /** It, or what it has to say, may have changed. */
  look(): void;
  /** Whether it was right when it was last looked at. */
  isRight(): boolean;
}

/** It is looked at that often without a reason, too. */
const LOOK_MS = 30_000;
/** Two who differ about it must not keep each other busy. */
const PAUSE_MS = 1000;
const RETRY = { baseMs: 500, maxMs: 30_000 };

export function createPublisher(place: Place, deps: PublishingDeps): Publisher {
  const { api, clock, random, log, signal } = deps;
  let wake = new AbortController();
  let isDue = false;
  let isRight = false;
  let said = '';

  /** Milliseconds until the next look. */
  async function look(): Promise<number> {
    isDue = false;
    const collection = await place.collection({ signal });
    if (collection === undefined) {
      sayOnce('the API server has no such kind');
      return LOOK_MS;
    }
    const path = `${collection}/${encodeURIComponent(place.name)}`;
    // First the object, then what it has to say: who wrote something newer meanwhile makes ours fail.
    const object = await read(path);
    const published = await deps.fresh({ signal });
    const told = toldBy(published, deps.extraRoots());
    if (object && place.isRight(object, told)) {
      isRight = true;
      said = '';
      deps.told(published);
      return LOOK_MS;
    }
    isRight = false;
    const body = place.withTold(object, told);
    try {
      await api.send(object ? 'PUT' : 'POST', object ? path : collection, body, { signal });
      const { revision, roots } = published;
      log.info({ path: place.what, count: roots.length, revision: String(revision) }, 'roots told');
    } catch (thrown) {
      if (!(thrown instanceof ApiRefusal) || thrown.code !== 409) throw thrown;
    }
    return PAUSE_MS;
  }

  async function read(path: string): Promise<Fields | undefined> {
    try {
      return record(await api.get(path, { signal }));
    } catch (thrown) {
      if (thrown instanceof ApiRefusal && thrown.code === 404) return undefined;
      throw thrown;
    }
  }

  function sayOnce(reason: string): void {
    if (reason !== said) log.warn({ path: place.what, reason }, 'roots cannot be told there');
    said = reason;
  }

  async function pause(ms: number, isPatient: boolean): Promise<void> {
    if (isDue && !isPatient) return;
    wake = new AbortController();
    const either = isPatient ? signal : AbortSignal.any([signal, wake.signal]);
    await sleep(clock, ms, { signal: either }).catch(() => undefined);
    if (signal.aborted) throw abortReason(signal);
  }

  return {
    async run() {
      for (let failures = 0; ;) {
        try {
          const waitMs = await look();
          failures = 0;
          await pause(waitMs, waitMs === PAUSE_MS);
        } catch (thrown) {
          signal.throwIfAborted();
          isRight = false;
          sayOnce(errorText(thrown));
          await pause(backoffDelay(failures++, RETRY, random), true);
        }
      }
    },
    look() {
      isDue = true;
      wake.abort();
    },
    isRight: () => isRight,
  };
}

/** Sorted: all replicas write the same bytes. */
export function toldBy({ roots, left }: PublishedRoots, extra: readonly Buffer[]): Told {
  const blocks = [...roots, ...extra].map((der) => pemBytes('CERTIFICATE', der).toString('latin1'));
  return {
    pem: [...new Set(blocks)].sort().join(''),
    left: [...left]
      .sort()
      .map((name) => `${name}\n`)
      .join(''),
  };
}
