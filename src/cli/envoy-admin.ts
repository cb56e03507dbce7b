import { errorText, IdentityError, systemCode } from '../core/errors.ts';
import type { Terminal } from './command.ts';
import { httpGet, type HttpAnswer, type HttpTarget } from './http-get.ts';
import { list, record, text, type Fields } from './json-fields.ts';
import { interrupted, socketFault } from './unreachable.ts';

/** Where an Envoy's admin interface is. */
export interface EnvoyAdmin {
  readonly target: HttpTarget;
  /** As it was written; a port alone with its host. */
  readonly shown: string;
}

/** A certificate as Envoy reports it; undefined where it says nothing. */
export interface EnvoyCertificate {
  readonly spiffeId: string;
  /** Lower-case hex without leading zeros. */
  readonly serial: string;
  /** Wall clock in milliseconds. */
  readonly notAfterMs: number | undefined;
}

/** What one TLS context in use has. */
export interface EnvoyContext {
  /** Leaves with a SPIFFE ID. */
  readonly leaves: readonly EnvoyCertificate[];
  /** Whether it shows no certificate at all, with or without a SPIFFE ID. */
  readonly bare: boolean;
  /** Number of CA certificates that peers are verified with. */
  readonly roots: number;
}

const TIMEOUT_MS = 5000;
/** About a kilobyte for each TLS context. */
const MAX_BYTES = 32 * 1024 * 1024;

/** Parses `PORT` of this machine, `HOST:PORT`, `http://HOST:PORT`, `/path` or `unix:/path`; throws `ERR_USAGE`. */
export function parseEnvoyAdmin(given: string): EnvoyAdmin {
  const shown = /^\d{1,5}$/.test(given) ? `127.0.0.1:${given}` : given;
  const socketPath = /^(?:unix:(?:\/\/(?=\/))?)?(\/.*)$/s.exec(shown)?.[1];
  if (socketPath !== undefined) return { target: { socketPath }, shown };
  const address = /^(?:http:\/\/)?(\[[0-9a-f:.]+\]|[a-z0-9._-]+):(\d{1,5})\/?$/i.exec(shown);
  const host = address?.[1]?.replace(/^\[|\]$/g, '');
  const port = Number(address?.[2]);
  if (host !== undefined && port >= 1 && port <= 65_535) return { target: { host, port }, shown };
  throw new IdentityError(
    'ERR_USAGE',
    `--envoy-admin is "${given}", expected PORT, HOST:PORT or a path`,
    {
      hint: shown.startsWith('https:')
        ? "Envoy's admin interface has no TLS: http://HOST:PORT"
        : 'as in 127.0.0.1:9901 or unix:/run/envoy/admin.sock: the address under admin of its bootstrap',
    },
  );
}

/**
 * What Envoy has in use, from `/certs`: the one page that does not show what it was only sent. Throws
 * `ERR_UNREACHABLE` when it does not answer, or not with that; `ERR_SHUTDOWN` on an aborted signal.
 */
export function fetchCerts(envoy: EnvoyAdmin, bounds: Bounds): Promise<readonly EnvoyContext[]> {
  return fetchPage(envoy, { path: '/certs', allow: '/certs', parse: parseCerts }, bounds);
}

/**
 * Names of the secrets that Envoy uses as roots and that hold none, from `/config_dump`: it takes a
 * certificate there without a word, and verifies nobody. Throws as `fetchCerts` does.
 */
export function fetchEmptyRoots(envoy: EnvoyAdmin, bounds: Bounds): Promise<readonly string[]> {
  const path = '/config_dump?resource=dynamic_active_secrets';
  return fetchPage(envoy, { path, allow: '/config_dump', parse: parseEmptyRoots }, bounds);
}

type Bounds = Pick<Terminal, 'clock' | 'signal'>;

interface Page<T> {
  readonly path: string;
  /** As it is named in `admin.allow_paths`. */
  readonly allow: string;
  /** Throws when the document is something else. */
  readonly parse: (document: unknown) => T;
}

async function fetchPage<T>(
  { target, shown }: EnvoyAdmin,
  { path, allow, parse }: Page<T>,
  { clock, signal }: Bounds,
): Promise<T> {
  const bounds = { clock, signal, timeoutMs: TIMEOUT_MS, maxBytes: MAX_BYTES };
  let answer: HttpAnswer;
  try {
    answer = await httpGet(target, path, bounds);
  } catch (thrown) {
    if (signal.aborted) throw interrupted();
    const reason = faultOf(systemCode(thrown)) ?? errorText(thrown);
    throw unusable(`cannot reach Envoy's admin interface at ${shown}: ${reason}`, {
      cause: thrown,
      hint: 'the address is under admin of its bootstrap; Envoy must be running',
    });
  }
  const { code, body } = answer;
  if (code === 403 || code === 404) {
    throw unusable(`${shown} answers ${code} to ${allow}: it is a restricted admin endpoint`, {
      hint: `allow ${allow}: admin.allow_paths of the bootstrap, or the proxy in front of it`,
    });
  }
  if (code !== 200) {
    throw unusable(`Envoy's admin interface at ${shown} answers ${code} to ${allow}`);
  }
  try {
    return parse(JSON.parse(body));
  } catch (thrown) {
    const message = `what answers at ${shown} is not Envoy's admin interface: its ${allow} is something else`;
    throw unusable(message, { cause: thrown });
  }
}

/** Takes out of `/certs` what is compared; throws when there is no list of certificates. */
export function parseCerts(document: unknown): readonly EnvoyContext[] {
  // An Envoy without a TLS context answers {}.
  const { certificates = [] } = record(document);
  if (!isObject(document) || !Array.isArray(certificates)) {
    throw new TypeError('it has no list of certificates');
  }
  return list(certificates).map((context) => ({
    leaves: list(context['cert_chain']).flatMap(parseLeaf),
    bare: list(context['cert_chain']).length === 0,
    roots: list(context['ca_cert']).length,
  }));
}

/** Takes the names of validation contexts with nothing in them; throws when it is no dump. */
export function parseEmptyRoots(document: unknown): readonly string[] {
  if (!isObject(document)) throw new TypeError('it is no dump');
  return list(record(document)['configs']).flatMap((config) => {
    const context = record(config['secret'])['validation_context'];
    const name = text(config['name']);
    return name !== null && isObject(context) && Object.keys(record(context)).length === 0
      ? [name]
      : [];
  });
}

const isObject = (value: unknown) =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function parseLeaf(from: Fields): EnvoyCertificate[] {
  const uris = list(from['subject_alt_names']).map((name) => text(name['uri']) ?? '');
  const spiffeId = uris.find((uri) => uri.startsWith('spiffe://'));
  if (spiffeId === undefined) return [];
  // From the date, never from days_until_expiration: it is unsigned (envoyproxy/envoy#20573).
  const notAfterMs = Date.parse(text(from['expiration_time']) ?? '');
  return [
    {
      spiffeId,
      serial: plainSerial(text(from['serial_number']) ?? ''),
      notAfterMs: Number.isNaN(notAfterMs) ? undefined : notAfterMs,
    },
  ];
}

/** One spelling of a serial number in hex. */
export function plainSerial(serial: string): string {
  return serial
    .toLowerCase()
    .replaceAll(':', '')
    .replace(/^0+(?=.)/, '');
}

function faultOf(code: string | undefined): string | undefined {
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'there is no host of this name';
  if (code?.startsWith('HPE_')) return 'what answers there does not speak HTTP';
  return socketFault(code);
}

function unusable(
  message: string,
  options: { cause?: unknown; hint?: string } = {},
): IdentityError {
  return new IdentityError('ERR_UNREACHABLE', message, options);
}
