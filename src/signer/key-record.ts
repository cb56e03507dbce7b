import { hash } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import { ApiRefusal, type Api } from '../kubernetes/api.ts';
import { record, text, type Fields } from '../kubernetes/fields.ts';
import { collectionOf, type ObjectName } from './object-name.ts';

/** A key for which a CA is about to be signed. */
export interface Reservation {
  readonly keyId: Buffer;
  /** Of the CertificateSigningRequest. */
  readonly requestUid: string;
  readonly node: string;
  /** When the CA will end. */
  readonly untilMs: number;
}

/** A key is the request's own, or it has been another's, or its node has more than enough. */
export type Place = 'own' | 'of another' | 'too many';

/** Two or three are usual; a daemon that forgets its key at each start has more. */
export const MAX_CAS_OF_A_NODE = 100;

/**
 * The keys of all CAs that live, in a ConfigMap that all replicas share. Each is written down before
 * its CA is signed: so no key gets a second one, and whether a node may have a CA is known.
 */
export interface KeyRecord {
  /**
   * Takes a key for a request. What is asked for at once is written together. Rejects as `Api` does,
   * and with `ERR_ISSUER` when the record is full or unreadable.
   */
  reserve(wanted: Reservation): Promise<Place>;
  /** Whether a CA of the node may live. */
  mayHaveCa(node: string, options: { signal: AbortSignal }): Promise<boolean>;
}

export interface KeyRecordDeps {
  readonly api: Pick<Api, 'get' | 'send'>;
  readonly configMap: ObjectName;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

interface Entry {
  readonly request: string;
  readonly node: string;
  readonly untilS: number;
}

const DATA = 'keys';
/** A ConfigMap takes 1 MiB; a line is 59 bytes. */
const MAX_ENTRIES = 15_000;
/** Others write between reading and writing: each time somebody got on. */
const ATTEMPTS = 50;
/** Key, request and node, each as it is found again and no more. */
const LINE = /^([\w-]{27}) ([\w-]{11}) ([\w-]{11}) (\d{1,11})$/;
const digestOf = (value: string) =>
  hash('sha256', value, 'buffer').subarray(0, 8).toString('base64url');
/** After the end of a CA, for clocks that differ. */
const SKEW_S = 600;

export function createKeyRecord(deps: KeyRecordDeps): KeyRecord {
  const { api, configMap, clock, log, signal } = deps;
  const collection = collectionOf('configmaps', configMap);
  const path = `${collection}/${configMap.name}`;
  let waiting: { readonly wanted: Reservation; readonly answer: PromiseWithResolvers<Place> }[] =
    [];
  let isWriting = false;

  async function read(options: { signal: AbortSignal }) {
    try {
      const object = record(await api.get(path, options));
      return { object, entries: parseEntries(text(record(object['data'])[DATA])) };
    } catch (thrown) {
      if (!(thrown instanceof ApiRefusal) || thrown.code !== 404) throw thrown;
      return { object: undefined, entries: new Map<string, Entry>() };
    }
  }

  /** False when somebody has changed it since. */
  async function write(object: Fields | undefined, entries: ReadonlyMap<string, Entry>) {
    const data = { [DATA]: serializeEntries(entries) };
    try {
      if (object) await api.send('PUT', path, { ...object, data }, { signal });
      else {
        const metadata = { ...configMap, labels: { 'app.kubernetes.io/name': 'credence-signer' } };
        const made = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data };
        await api.send('POST', collection, made, { signal });
      }
      return true;
    } catch (thrown) {
      if (thrown instanceof ApiRefusal && [409, 404].includes(thrown.code)) return false;
      throw thrown;
    }
  }

  async function reserveAll(batch: readonly Reservation[]): Promise<readonly Place[]> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const { object, entries } = await read({ signal });
      dropEnded(entries, Math.floor(clock.now() / 1000));
      const results = batch.map((wanted) => take(entries, wanted));
      if (entries.size > MAX_ENTRIES) {
        const why = `${MAX_ENTRIES} CAs live, more cannot be written down`;
        throw new IdentityError('ERR_ISSUER', why, {
          hint: 'a shorter signer.ca_ttl, or a longer share of it between renewals',
        });
      }
      if (await write(object, entries)) return results;
    }
    throw new IdentityError('ERR_ISSUER', `the record of keys changed ${ATTEMPTS} times meanwhile`);
  }

  async function writeWaiting(): Promise<void> {
    if (isWriting) return;
    isWriting = true;
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      try {
        const results = await reserveAll(batch.map(({ wanted }) => wanted));
        batch.forEach(({ answer }, n) => answer.resolve(results[n] ?? 'of another'));
      } catch (thrown) {
        for (const { answer } of batch) answer.reject(thrown);
      }
    }
    isWriting = false;
  }

  return {
    reserve(wanted) {
      const answer = withResolvers<Place>();
      waiting.push({ wanted, answer });
      writeWaiting().catch((thrown: unknown) => log.error({ err: thrown }, 'key record'));
      return answer.promise;
    },
    async mayHaveCa(node, options) {
      const { entries } = await read(options);
      const nowS = Math.floor(clock.now() / 1000);
      const digest = digestOf(node);
      return [...entries.values()].some((one) => one.node === digest && one.untilS + SKEW_S > nowS);
    },
  };
}

interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
}

function withResolvers<T>(): PromiseWithResolvers<T> {
  let resolve: PromiseWithResolvers<T>['resolve'] = () => undefined;
  let reject: PromiseWithResolvers<T>['reject'] = () => undefined;
  const promise = new Promise<T>((yes, no) => ([resolve, reject] = [yes, no]));
  return { promise, resolve, reject };
}

/** Whether the key is this request's, for which it may have been written down before. */
function take(entries: Map<string, Entry>, wanted: Reservation): Place {
  const key = wanted.keyId.toString('base64url');
  const request = digestOf(wanted.requestUid);
  const node = digestOf(wanted.node);
  const there = entries.get(key);
  if (there && there.request !== request) return 'of another';
  if (!there && countOf(entries, node) >= MAX_CAS_OF_A_NODE) return 'too many';
  const untilS = Math.max(there?.untilS ?? 0, Math.ceil(wanted.untilMs / 1000));
  entries.set(key, { request, node, untilS });
  return 'own';
}

function countOf(entries: ReadonlyMap<string, Entry>, node: string): number {
  let count = 0;
  for (const one of entries.values()) if (one.node === node) count++;
  return count;
}

function dropEnded(entries: Map<string, Entry>, nowS: number): void {
  for (const [key, { untilS }] of entries) if (untilS + SKEW_S <= nowS) entries.delete(key);
}

/** Throws `ERR_ISSUER` for what is no record: what it said of keys is lost, so nothing is signed. */
export function parseEntries(data: string): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  for (const [n, line] of data.split('\n').entries()) {
    if (line === '') continue;
    const [, key, request, node, until] = LINE.exec(line) ?? [];
    if (key === undefined || request === undefined || node === undefined) {
      throw new IdentityError('ERR_ISSUER', `line ${n + 1} of the record of keys is none`, {
        hint: 'delete the ConfigMap: keys of CAs that live could then be used again',
      });
    }
    entries.set(key, { request, node, untilS: Number(until) });
  }
  return entries;
}

export function serializeEntries(entries: ReadonlyMap<string, Entry>): string {
  return [...entries]
    .map(([key, { request, node, untilS }]) => `${key} ${request} ${node} ${untilS}\n`)
    .join('');
}
