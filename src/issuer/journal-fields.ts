import { errorText } from '../core/errors.ts';
import type { KeyName, Slot } from './ca-state.ts';
import { isKeyType } from './key-type.ts';
import { readOneCertificate, type UpstreamCertificate } from './upstream-certificates.ts';

/** Something in a journal is not as it was written; the message says what. */
export class Fault extends Error {}

export type Fields = Readonly<Record<string, unknown>>;

/** The fields of an object; none of anything else. */
export function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

export function text(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value === 'string') return value;
  throw new Fault(`${name} is missing`);
}

export function whole(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new Fault(`${name} is not a whole number`);
}

export function flag(fields: Fields, name: string): boolean {
  const value = fields[name];
  if (typeof value === 'boolean') return value;
  throw new Fault(`${name} is neither true nor false`);
}

export function slot({ state }: Fields): Slot {
  if (state === 'prepared' || state === 'active' || state === 'old') return state;
  throw new Fault('state is unknown');
}

export function keyName({ key_id: id, key_type: type }: Fields): KeyName {
  // The name becomes part of a file's path.
  if (typeof id !== 'string' || !/^[0-9a-f]{40}$/.test(id)) throw new Fault('key_id is malformed');
  if (!isKeyType(type)) throw new Fault('key_type is unknown');
  return { id, type };
}

/** From base64, exactly as it is written. */
export function certificate(value: unknown, name: string): UpstreamCertificate {
  if (typeof value !== 'string') throw new Fault(`${name} is missing`);
  const bytes = Buffer.from(value, 'base64');
  if (bytes.length === 0 || bytes.toString('base64') !== value) {
    throw new Fault(`${name} is not base64`);
  }
  try {
    const read = readOneCertificate(bytes);
    if (read.der.equals(bytes)) return read;
  } catch (thrown) {
    throw new Fault(`${name} cannot be read: ${errorText(thrown)}`, { cause: thrown });
  }
  throw new Fault(`${name} has something behind it`);
}

/** Each item of a list; a fault says which one it is of. */
export function list<T>(
  fields: Fields,
  name: string,
  most: number,
  parse: (fields: Fields, item: unknown) => T,
): T[] {
  const items = fields[name];
  if (!Array.isArray(items)) throw new Fault(`${name} is not a list`);
  if (items.length > most) throw new Fault(`${name} has ${items.length} items, at most ${most}`);
  return items.map((item: unknown, index) => {
    try {
      return parse(fieldsOf(item), item);
    } catch (thrown) {
      throw new Fault(`${name}[${index}]: ${errorText(thrown)}`, { cause: thrown });
    }
  });
}
