import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { freePort, isFree } from './ports.ts';

/** A JSON value. */
export type Json = string | number | boolean | null | Json[] | JsonObject;
export interface JsonObject {
  [key: string]: Json;
}

/** An Envoy bootstrap, as far as the tests look into it. */
export interface Bootstrap extends JsonObject {
  static_resources: { listeners: JsonObject[]; clusters: JsonObject[] };
}

/** The files of `envoy-configs/` that Envoy loads. */
export type BootstrapName =
  'server' | 'client' | 'tcp-proxy' | 'on-demand-server' | 'on-demand-client';

/** Scalars that take the place of others, wherever they stand as a whole value. */
export type Replacements = ReadonlyMap<string | number, string | number>;

/** The loopback ports that the bootstraps of `envoy-configs/` name. */
export const FIXED_PORTS = {
  serverAdmin: 9901,
  clientAdmin: 9902,
  tcpProxyAdmin: 9903,
  onDemandServerAdmin: 9904,
  onDemandClientAdmin: 9905,
  server: 10001,
  client: 10002,
  tcpIn: 10003,
  tcpOut: 10004,
  tcpApplication: 10005,
  byName: 10006,
  bySni: 10007,
  asClient: 10008,
  asServer: 10009,
} as const;

/** A port of `FIXED_PORTS` by its name. */
export type PortName = keyof typeof FIXED_PORTS;

/** Where a group of Envoys that talk to each other lives. */
export interface Place {
  readonly replacements: Replacements;
  port(name: PortName): number;
}

/**
 * The daemon's socket and free ports in the place of those in the files. With `preferFixed` a port
 * stays as it is in the file unless somebody listens there.
 */
export async function findPlace(
  socketPath: string,
  { preferFixed = false }: { preferFixed?: boolean } = {},
): Promise<Place> {
  const replacements = new Map<string | number, string | number>([['run/api.sock', socketPath]]);
  for (const fixed of Object.values(FIXED_PORTS)) {
    const keep = preferFixed && (await isFree(fixed));
    replacements.set(fixed, keep ? fixed : await freePort());
  }
  return { replacements, port: (name) => Number(replacements.get(FIXED_PORTS[name])) };
}

/** Path of a bootstrap of `envoy-configs/`. */
export function bootstrapPath(name: BootstrapName): string {
  return fileURLToPath(new URL(`../../envoy-configs/${name}.yaml`, import.meta.url));
}

/** Reads a bootstrap of `envoy-configs/` and replaces ports, the socket or names in it. */
export async function readBootstrap(
  name: BootstrapName,
  replacements: Replacements = new Map(),
): Promise<Bootstrap> {
  // Aliases become copies: a test that changes one secret must not change its siblings.
  const text = JSON.stringify(parse(await readFile(bootstrapPath(name), 'utf8')));
  return replaceScalars(JSON.parse(text) as Bootstrap, replacements);
}

/** A copy of `value` with whole scalars replaced. */
export function replaceScalars<T extends Json>(value: T, replacements: Replacements): T {
  return JSON.parse(
    JSON.stringify(value, (_key, part: unknown) =>
      typeof part === 'string' || typeof part === 'number'
        ? (replacements.get(part) ?? part)
        : part,
    ),
  ) as T;
}

/** The member of a list that has this name. */
export function named(list: readonly JsonObject[], name: string): JsonObject {
  const found = list.find((item) => item['name'] === name);
  if (!found) throw new Error(`the bootstrap has nothing named ${name}`);
  return found;
}

/** Calls `change` with every place in a bootstrap where a secret is asked for over gRPC. */
export function eachSecretConfig(
  part: Json,
  change: (secret: string, source: JsonObject) => void,
): void {
  if (part === null || typeof part !== 'object') return;
  if (!Array.isArray(part) && typeof part['name'] === 'string') {
    const source = (part['sds_config'] as JsonObject | undefined)?.['api_config_source'];
    if (source !== undefined) change(part['name'], source as JsonObject);
  }
  for (const child of Object.values(part)) eachSecretConfig(child, change);
}
