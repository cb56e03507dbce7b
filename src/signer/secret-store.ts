import { createPrivateKey } from 'node:crypto';
import { IdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import { pemBytes } from '../identity/pem.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import {
  generatePrivateKey,
  keyTypeOf,
  localSigningKey,
  type KeyManager,
  type SigningKey,
} from '../issuer/keys.ts';
import type { KeyType } from '../issuer/key-type.ts';
import { ApiRefusal, type Api } from '../kubernetes/api.ts';
import { record, text, type Fields } from '../kubernetes/fields.ts';
import { collectionOf, type ObjectName } from './object-name.ts';
import { NO_STATE, parseState, serializeState, type SignerState } from './signer-state.ts';

/** The state as it was read, and what it takes to replace it. */
export interface Kept {
  readonly state: SignerState;
  /** The Secret as the server gave it; undefined while there is none. */
  readonly object: Fields | undefined;
}

/** The state of the signer in a Secret that all replicas share. */
export interface StateStore {
  /** What is there now. Rejects as `Api` does, and with `ERR_KEY_STORE` when it cannot be used. */
  read(options: { signal: AbortSignal }): Promise<Kept>;
  /** The same of an object that a watch told of. */
  parse(object: unknown): Kept;
  /** False when somebody has changed it since: then nothing was written. */
  write(before: Kept, next: SignerState, options: { signal: AbortSignal }): Promise<boolean>;
}

export interface StateStoreDeps {
  readonly api: Pick<Api, 'get' | 'send'>;
  readonly secret: ObjectName;
  readonly trustDomain: TrustDomain;
}

const STATE = 'state.json';
const KEY_FILE = /^key-([0-9a-f]{40})\.pem$/;
const keyFile = (id: string) => `key-${id}.pem`;

/** Keys that are kept beside the state: each is written with the state that names it, or not at all. */
export interface KeysInSecret extends KeyManager {
  /** Files of the Secret for a state, out of those that there are. */
  filesFor(state: SignerState, there: Fields): Record<string, string>;
  /** What the Secret holds now. */
  take(data: Fields): void;
}

export function createStateStore(
  { api, secret, trustDomain }: StateStoreDeps,
  keys: KeysInSecret | undefined,
): StateStore {
  const collection = collectionOf('secrets', secret);
  const path = `${collection}/${secret.name}`;

  function parse(object: unknown): Kept {
    const data = record(record(object)['data']);
    keys?.take(data);
    const json = Buffer.from(text(data[STATE]), 'base64').toString('utf8');
    return {
      object: record(object),
      state: json === '' ? NO_STATE : parseState(json, trustDomain),
    };
  }

  return {
    parse,
    async read(options) {
      try {
        return parse(await api.get(path, options));
      } catch (thrown) {
        if (!(thrown instanceof ApiRefusal) || thrown.code !== 404) throw thrown;
        return { object: undefined, state: NO_STATE };
      }
    },
    async write({ object }, state, options) {
      const there = record(object?.['data']);
      const others = Object.entries(there).filter(([name]) => !(keys && KEY_FILE.test(name)));
      const data = {
        ...Object.fromEntries(others),
        ...keys?.filesFor(state, there),
        [STATE]: Buffer.from(serializeState(state)).toString('base64'),
      };
      const metadata = { ...secret, labels: { 'app.kubernetes.io/name': 'credence-signer' } };
      try {
        // The version in it makes the server refuse what somebody has changed meanwhile.
        if (object) await api.send('PUT', path, { ...object, data }, options);
        else {
          const made = { apiVersion: 'v1', kind: 'Secret', type: 'Opaque', metadata, data };
          await api.send('POST', collection, made, options);
        }
      } catch (thrown) {
        if (thrown instanceof ApiRefusal && [409, 404].includes(thrown.code)) return false;
        throw thrown;
      }
      // A key that was just made is found from now on.
      keys?.take(data);
      return true;
    },
  };
}

/**
 * A store that puts back what it has read when it is gone, as when somebody has deleted the Secret:
 * to begin anew would let cut off nodes in again, and make a root that no node trusts.
 */
export function withMemory(store: StateStore, log: Logger): StateStore {
  let known: SignerState | undefined;
  const remember = (kept: Kept) => {
    known = kept.state;
    return kept;
  };
  return {
    async read(options) {
      const there = await store.read(options);
      if (!known || known.revision === 0 || there.state.revision > 0) return remember(there);
      if (!(await store.write(there, known, options))) throw changedMeanwhile();
      log.error({ count: known.roots.length }, 'the state of the signer was gone and is put back');
      return remember(await store.read(options));
    },
    parse: (object) => store.parse(object),
    async write(before, next, options) {
      const isWritten = await store.write(before, next, options);
      if (isWritten) known = next;
      return isWritten;
    },
  };
}

const changedMeanwhile = () =>
  new IdentityError('ERR_ISSUER', 'the state of the signer has changed meanwhile');

/**
 * A key manager for several replicas: a new key is in memory until the state that names it is
 * written, both in one. So no replica can take a key for one that was left behind. What travels to
 * and from the API server is text, which cannot be wiped: the process is hidden from others instead.
 */
export function createKeysInSecret(): KeysInSecret {
  const made = new Map<string, { readonly key: SigningKey; readonly file: string }>();
  let there: Fields = {};
  return {
    async generate(type) {
      const privateKey = await generatePrivateKey(type);
      const key = localSigningKey(privateKey, type);
      const der = privateKey.export({ type: 'pkcs8', format: 'der' });
      const pem = pemBytes('PRIVATE KEY', der);
      made.set(key.id, { key, file: pem.toString('base64') });
      der.fill(0);
      pem.fill(0);
      return key;
    },
    load(id, type) {
      const fresh = made.get(id)?.key;
      return fresh ?? readKey(text(there[keyFile(id)]), id, type);
    },
    ids: () => Object.keys(there).flatMap((name) => KEY_FILE.exec(name)?.[1] ?? []),
    remove: (id) => void made.delete(id),
    filesFor({ roots }, data) {
      const files = roots.map(({ key }) => [
        keyFile(key),
        // Where somebody has deleted the Secret, what was in it.
        made.get(key)?.file ?? (text(data[keyFile(key)]) || text(there[keyFile(key)])),
      ]);
      return Object.fromEntries(files.filter(([, file]) => file !== '')) as Record<string, string>;
    },
    take: (data) => void (there = data),
  };
}

function readKey(base64: string, id: string, type: KeyType): SigningKey {
  if (base64 === '') throw unusable(id, 'it is missing');
  const pem = Buffer.from(base64, 'base64');
  let privateKey;
  try {
    privateKey = createPrivateKey({ key: pem, format: 'pem', type: 'pkcs8' });
  } catch {
    // What the parser says is no matter, and might quote it.
    throw unusable(id, 'it is not a PKCS#8 private key');
  } finally {
    pem.fill(0);
  }
  const actual = keyTypeOf(privateKey);
  if (actual !== type) throw unusable(id, `it is a key of type ${actual ?? 'unknown'}`);
  const key = localSigningKey(privateKey, type);
  if (key.id !== id) throw unusable(id, `it is the key ${key.id}`);
  return key;
}

function unusable(id: string, why: string): IdentityError {
  return new IdentityError('ERR_KEY_STORE', `cannot use the key ${id} in the Secret: ${why}`);
}
