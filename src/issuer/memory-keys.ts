import { IdentityError } from '../core/errors.ts';
import { generatePrivateKey, localSigningKey, type KeyManager, type SigningKey } from './keys.ts';

/** Keys that end with the process: every start makes a new root. */
export function createMemoryKeys(): KeyManager {
  const keys = new Map<string, SigningKey>();
  return {
    async generate(type) {
      const key = localSigningKey(await generatePrivateKey(type), type);
      keys.set(key.id, key);
      return key;
    },
    load(id) {
      const key = keys.get(id);
      if (!key) throw new IdentityError('ERR_KEY_STORE', `no key ${id} in memory`);
      return key;
    },
    ids: () => [...keys.keys()],
    remove: (id) => void keys.delete(id),
  };
}
