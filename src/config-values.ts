import type convict from 'convict';
import type { Complain, Values } from './read-settings.ts';

/** Reads values; each went through its setting's format, so its type is the one it stands for. */
export function getter(values: Values) {
  return <T = string>(key: string) => (values as convict.Config<Record<string, T>>).get(key);
}

export type Get = ReturnType<typeof getter>;

/** `host:port` of either family; complains of anything else but an empty text. */
export function parseAddress(
  key: string,
  text: string,
  complain: Complain,
): { host: string; port: number } | undefined {
  if (text === '') return undefined;
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+)):(\d{1,5})$/i.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) {
    complain(key, `expected host:port, found "${text}"`);
    return undefined;
  }
  return { host: match[1] ?? match[2] ?? '', port };
}
