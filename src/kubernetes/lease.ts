import type { Clock } from '../core/clock.ts';
import { ApiRefusal, type Api } from './api.ts';
import { record, text } from './fields.ts';

/** Which one of many daemons does what one is enough for. */
export interface Lease {
  /**
   * Takes or renews it, and says whether it is ours for as long as `LEASE_MS`. Rejects as `Api` does:
   * then it is nobody's as far as we know.
   */
  holds(options: { signal: AbortSignal }): Promise<boolean>;
}

export interface LeaseDeps {
  readonly api: Pick<Api, 'get' | 'send'>;
  readonly clock: Clock;
  readonly namespace: string;
  readonly name: string;
  /** Unlike any other daemon's. */
  readonly holder: string;
}

export const LEASE_MS = 60_000;

/** A lease of `coordination.k8s.io`; of two that take it at once the server lets one. */
export function createLease({ api, clock, namespace, name, holder }: LeaseDeps): Lease {
  const collection = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
  /** What was seen of another holder, and since when: its clock may be another than ours. */
  let seen: { version: string; atMs: number } | undefined;

  const specNow = () => ({
    holderIdentity: holder,
    leaseDurationSeconds: LEASE_MS / 1000,
    renewTime: new Date(clock.now()).toISOString().replace('Z', '000Z'),
  });

  async function read(signal: AbortSignal) {
    try {
      return record(await api.get(`${collection}/${name}`, { signal }));
    } catch (thrown) {
      if (thrown instanceof ApiRefusal && thrown.code === 404) return undefined;
      throw thrown;
    }
  }

  /** False when somebody else was quicker. */
  async function write(method: 'POST' | 'PUT', body: object, signal: AbortSignal) {
    const path = method === 'POST' ? collection : `${collection}/${name}`;
    try {
      await api.send(method, path, body, { signal });
      return true;
    } catch (thrown) {
      if (thrown instanceof ApiRefusal && thrown.code === 409) return false;
      throw thrown;
    }
  }

  return {
    async holds({ signal }) {
      const there = await read(signal);
      if (!there) {
        const body = {
          apiVersion: 'coordination.k8s.io/v1',
          kind: 'Lease',
          metadata: { namespace, name },
          spec: specNow(),
        };
        return write('POST', body, signal);
      }
      const version = text(record(there['metadata'])['resourceVersion']);
      const owner = text(record(there['spec'])['holderIdentity']);
      if (owner !== holder && owner !== '') {
        const nowMs = clock.monotonic();
        if (seen?.version !== version) seen = { version, atMs: nowMs };
        if (nowMs - seen.atMs < LEASE_MS) return false;
      }
      // The version in it makes the server refuse what somebody has changed meanwhile.
      return write('PUT', { ...there, spec: specNow() }, signal);
    },
  };
}
