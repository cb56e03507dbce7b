import { createPublicKey, hash, verify, type KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { IdentityError } from '../core/errors.ts';
import { KEY_TYPES, type KeyType } from '../issuer/key-type.ts';
import { keyTypeOf, type KeyManager, type SigningKey } from '../issuer/keys.ts';
import { subjectKeyId } from '../issuer/subject-key-id.ts';
import type { Pkcs11Config } from './config.ts';
import { ecdsaDer, toBeSigned } from './forms.ts';
import { instanceOf } from './instance.ts';
import type { KeyRequest, OpenRequest, TokenValue } from './protocol.ts';
import { TokenLink, type LinkDeps } from './token-link.ts';

export interface TokenKeysConfig extends Pkcs11Config {
  readonly trustDomain: string;
  readonly dataDir: string;
  /** What new keys are to be: the token has to be able to make them. */
  readonly caKeyType: KeyType;
}

/** CA keys on a token; `close` ends the processes that hold its module. */
export interface TokenKeys extends KeyManager {
  close(): void;
}

/**
 * Opens the token. `ERR_KEY_STORE` when the module, the token, the PIN or what the token offers is not
 * what it should be.
 */
export async function openTokenKeys(config: TokenKeysConfig, deps: LinkDeps): Promise<TokenKeys> {
  const log = deps.log.child({ component: 'pkcs11' });
  const { id, isNew } = instanceOf(config.dataDir, deps.random);
  const request = openRequest(config, id);
  const link = new TokenLink(request, { ...deps, log });
  try {
    await link.open();
  } catch (thrown) {
    link.close();
    throw thrown;
  }
  if (isNew && link.others > 0) {
    log.warn(
      { count: link.others, detail: request.labelOfAll },
      'the token holds CA keys of other daemons of this trust domain; if they were those of this one, restore data_dir',
    );
  }
  return createTokenKeys(link);
}

function openRequest(config: TokenKeysConfig, instance: string): OpenRequest {
  const { module, token, pin, keyLabel, trustDomain, dataDir, caKeyType } = config;
  const labelOfAll = `${keyLabel}:${trustDomain}:`;
  return {
    call: 'open',
    ...{ module, token, labelOfAll },
    pin: 'file' in pin ? pin : { text: pin.text() },
    refusedPinFile: join(dataDir, 'pkcs11-refused-pin'),
    label: `${labelOfAll}${instance}`,
    keyType: caKeyType,
  };
}

type Ask = (request: KeyRequest) => Promise<TokenValue>;

function createTokenKeys(link: TokenLink): TokenKeys {
  const ask: Ask = (request) => link.ask(request);
  // One after the other: who lists keys does not meet one that has no name yet.
  let turn: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const next = turn.then(work);
    turn = next.catch(() => undefined);
    return next;
  };
  return {
    generate: (type) =>
      inTurn(async () => {
        const spki = bytesOf(await ask({ call: 'generate', keyType: type }));
        return signingKey(spki, type, ask);
      }),
    load: async (id, type) => {
      const key = signingKey(bytesOf(await ask({ call: 'find', id, keyType: type })), type, ask);
      if (key.id === id) return key;
      throw new IdentityError('ERR_KEY_STORE', `the token has the key ${key.id} as ${id}`);
    },
    ids: () =>
      inTurn(async () => {
        const ids = await ask({ call: 'ids' });
        return typeof ids === 'string' ? [] : ids;
      }),
    remove: (id) =>
      inTurn(async () => {
        await ask({ call: 'remove', id });
      }),
    close: () => link.close(),
  };
}

function signingKey(spki: Buffer, type: KeyType, ask: Ask): SigningKey {
  const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  const actual = keyTypeOf(publicKey);
  if (actual !== type) {
    throw new IdentityError('ERR_KEY_STORE', `the token's key is of type ${actual ?? 'unknown'}`);
  }
  const { digest, kind } = KEY_TYPES[type];
  const id = subjectKeyId(spki).toString('hex');
  return {
    id,
    type,
    spki,
    async sign(data) {
      const padded = toBeSigned(type, hash(digest, data, 'buffer'));
      const request = { call: 'sign', id, keyType: type, data: padded.toString('base64') } as const;
      const raw = bytesOf(await ask(request));
      const signature = kind === 'ec' ? ecdsaDer(type, raw) : raw;
      if (await verifies(digest, data, publicKey, signature)) return signature;
      throw new IdentityError(
        'ERR_KEY_STORE',
        'the token returned a signature that does not verify',
      );
    },
  };
}

/** On a thread of the pool: what a token returns is looked at before anybody else sees it. */
function verifies(
  digest: string,
  data: Uint8Array,
  key: KeyObject,
  signature: Buffer,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    verify(digest, data, key, signature, (error, good) => (error ? reject(error) : resolve(good)));
  });
}

function bytesOf(value: TokenValue): Buffer {
  return Buffer.from(typeof value === 'string' ? value : '', 'base64');
}
