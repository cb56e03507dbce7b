import { IdentityError } from '../core/errors.ts';
import { count, list, record, text, texts, type Fields } from './json-fields.ts';

/** One secret of a stream; null where the daemon says nothing. */
export interface SecretView {
  readonly name: string;
  readonly sent: string | null;
  readonly sentAt: string | null;
  /** The proxy was told that it may not have it. */
  readonly absent: boolean;
  readonly acknowledged: string | null;
  /** What the proxy refused last, with its words. */
  readonly refused: { readonly version: string; readonly text: string } | null;
  /** Of a certificate; null of a trust bundle. */
  readonly spiffeId: string | null;
  readonly serial: string | null;
  readonly notAfter: string | null;
  readonly nextRotation: string | null;
}

export interface ProxyView {
  readonly pid: number | null;
  readonly uid: number | null;
  readonly nodeId: string | null;
  readonly envoyVersion: string | null;
  readonly streams: readonly {
    readonly waiting: readonly string[];
    readonly secrets: readonly SecretView[];
  }[];
}

/** What `credence status` shows of the document at `/status`. */
export interface StatusView {
  readonly version: string;
  readonly nodeName: string;
  readonly trustDomain: string;
  readonly notReady: readonly string[];
  readonly policy: {
    readonly entries: number | null;
    readonly revision: string | null;
    readonly loadedAt: string | null;
    readonly lastError: string | null;
  };
  readonly authorities: readonly { readonly slot: string; readonly notAfter: string | null }[];
  readonly rotation: {
    readonly held: number | null;
    readonly due: number | null;
    readonly earliestNotAfter: string | null;
  };
  readonly proxies: readonly ProxyView[];
}

/** Takes out of an answer what is shown; throws `ERR_UNREACHABLE` when it is no status at all. */
export function parseStatus(document: unknown): StatusView {
  const from = record(document);
  if (!Array.isArray(from['proxies']) || !Array.isArray(from['authorities'])) {
    throw new IdentityError('ERR_UNREACHABLE', 'the daemon answered something else than a status');
  }
  const policy = record(from['policy']);
  const rotation = record(from['rotation']);
  return {
    version: text(from['version']) ?? '?',
    nodeName: text(from['node_name']) ?? '?',
    trustDomain: text(from['trust_domain']) ?? '?',
    notReady: texts(from['not_ready']),
    policy: {
      entries: count(policy['entries']),
      revision: text(policy['revision']),
      loadedAt: text(policy['loaded_at']),
      lastError: text(policy['last_error']),
    },
    authorities: list(from['authorities']).map((authority) => ({
      slot: text(authority['slot']) ?? '?',
      notAfter: text(authority['not_after']),
    })),
    rotation: {
      held: count(rotation['held_svids']),
      due: count(rotation['due_svids']),
      earliestNotAfter: text(rotation['earliest_not_after']),
    },
    proxies: list(from['proxies']).map(parseProxy),
  };
}

function parseProxy(from: Fields): ProxyView {
  return {
    pid: count(from['pid']),
    uid: count(from['uid']),
    nodeId: text(from['node_id']),
    envoyVersion: text(from['envoy_version']),
    streams: list(from['streams']).map((stream) => ({
      waiting: texts(stream['waiting']),
      secrets: list(stream['secrets']).map(parseSecret),
    })),
  };
}

function parseSecret(from: Fields): SecretView {
  const refused = from['refused'] == null ? undefined : record(from['refused']);
  return {
    name: text(from['name']) ?? '?',
    sent: text(from['sent']),
    sentAt: text(from['sent_at']),
    absent: from['absent'] === true,
    acknowledged: text(from['acknowledged']),
    refused: refused
      ? { version: text(refused['version']) ?? '', text: text(refused['text']) ?? '' }
      : null,
    spiffeId: text(from['spiffe_id']),
    serial: text(from['serial']),
    notAfter: text(from['not_after']),
    nextRotation: text(from['next_rotation']),
  };
}
