import { createPrivateKey, type KeyObject } from 'node:crypto';
import { readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from '../core/atomic-file.ts';
import { errorText, IdentityError, systemCode } from '../core/errors.ts';
import { pemBytes } from '../identity/pem.ts';
import type { KeyType } from './key-type.ts';
import {
  generatePrivateKey,
  keyTypeOf,
  localSigningKey,
  type KeyManager,
  type SigningKey,
} from './keys.ts';
import { ensurePrivateFolder, readPrivateFile } from './private-files.ts';
import { unusable } from './unusable.ts';

const KEY_FILE = /^([0-9a-f]{40})\.pem$/;
/** What a write that was cut short leaves behind. */
const LEFTOVER = /^[0-9a-f]{40}\.pem\.tmp-\d+$/;
const MAX_KEY_BYTES = 16_384;

/** Keys as PKCS#8 files `ID.pem`, 0600, in a folder of their own; other files are left alone. */
export function createDiskKeys(folder: string): KeyManager {
  ensurePrivateFolder(folder);
  const pathOf = (id: string) => join(folder, `${id}.pem`);
  for (const name of list(folder)) if (LEFTOVER.test(name)) remove(join(folder, name));
  return {
    async generate(type) {
      const privateKey = await generatePrivateKey(type);
      const key = localSigningKey(privateKey, type);
      writeKey(pathOf(key.id), privateKey);
      return key;
    },
    load: (id, type) => loadKey(pathOf(id), id, type),
    ids: () => list(folder).flatMap((name) => KEY_FILE.exec(name)?.[1] ?? []),
    remove: (id) => remove(pathOf(id)),
  };
}

/** By way of buffers alone, which are wiped: a string of the key would stay in memory. */
function writeKey(path: string, privateKey: KeyObject): void {
  const der = privateKey.export({ type: 'pkcs8', format: 'der' });
  const pem = pemBytes('PRIVATE KEY', der);
  try {
    writeFileAtomic(path, pem, 0o600);
  } finally {
    der.fill(0);
    pem.fill(0);
  }
}

function loadKey(path: string, id: string, type: KeyType): SigningKey {
  const pem = readPrivateFile(path, MAX_KEY_BYTES);
  if (!pem) throw damaged(path, 'it is missing');
  const privateKey = parseKey(path, pem);
  const actual = keyTypeOf(privateKey);
  if (actual !== type) throw damaged(path, `it holds a key of type ${actual ?? 'unknown'}`);
  const key = localSigningKey(privateKey, type);
  if (key.id !== id) throw damaged(path, `it holds the key ${key.id}`);
  return key;
}

/** Wipes `pem`. */
function parseKey(path: string, pem: Buffer): KeyObject {
  try {
    return createPrivateKey({ key: pem, format: 'pem', type: 'pkcs8' });
  } catch (thrown) {
    throw damaged(path, `it is not a PKCS#8 private key (${errorText(thrown)})`, thrown);
  } finally {
    pem.fill(0);
  }
}

function damaged(path: string, why: string, cause?: unknown): IdentityError {
  return unusable(`the CA key ${path}`, why, cause);
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (thrown) {
    throw new IdentityError('ERR_KEY_STORE', `cannot list ${folder}: ${errorText(thrown)}`, {
      cause: thrown,
    });
  }
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch (thrown) {
    if (systemCode(thrown) === 'ENOENT') return;
    throw new IdentityError('ERR_DISK', `cannot remove ${path}: ${errorText(thrown)}`, {
      cause: thrown,
    });
  }
}
