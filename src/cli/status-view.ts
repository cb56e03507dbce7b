import { IdentityError } from '../core/errors.ts';
import {
  STAGES,
  type InUse,
  type ProxyState,
  type SecretState,
  type StatusPage,
  type UpstreamState,
} from '../ui/view.ts';
import { count, list, record, text, texts, type Fields } from './json-fields.ts';
import { oneLine } from './printable.ts';

/** What a proxy may call something, and how much of its words is shown. */
const MAX_NAME = 512;
const MAX_WORDS = 4000;

/** A proxy as the daemon tells of it; who its user is, the machine of the reader says. */
export type ProxyView = Omit<ProxyState, 'user'>;

/** What `credence status` and `credence ui` show of the document at `/status`; null where it says nothing. */
export type StatusView = Omit<StatusPage, 'proxies'> & {
  readonly proxies: readonly ProxyView[];
  readonly manifests: readonly ManifestView[];
  readonly asked: readonly AskedView[];
};

/** Somebody whom an attestor asks. */
export interface AskedView {
  readonly attestor: string | null;
  readonly who: string;
  readonly at: string;
  readonly heardAtMs: number | null;
  readonly failingSinceMs: number | null;
  readonly reason: string | null;
}

/** What became of a manifest on that node. */
export interface ManifestView {
  readonly source: string;
  readonly podsSelected: number | null;
  readonly entries: number | null;
  readonly note: string | null;
}

/**
 * Takes named fields out of an answer and no others. Texts that proxies choose come bounded and as
 * what they are. Throws `ERR_UNREACHABLE` when it is no status at all.
 */
export function parseStatus(document: unknown): StatusView {
  const from = record(document);
  if (!Array.isArray(from['proxies']) || !Array.isArray(from['authorities'])) {
    throw new IdentityError('ERR_UNREACHABLE', 'the daemon answered something else than a status');
  }
  const policy = record(from['policy']);
  const rotation = record(from['rotation']);
  const readers = record(from['bundle_readers']);
  return {
    version: name(from['version']) ?? '?',
    nodeName: name(from['node_name']) ?? '?',
    trustDomain: name(from['trust_domain']) ?? '?',
    startedAtMs: time(from['started_at']),
    notReady: texts(from['not_ready']).map(clippedWords),
    policy: {
      entries: count(policy['entries']),
      revision: name(policy['revision']),
      loadedAtMs: time(policy['loaded_at']),
      warnings: count(policy['warnings']),
      lastError: words(policy['last_error']),
      lastErrorAtMs: time(policy['last_error_at']),
    },
    asked: list(from['asked']).map((asked) => ({
      attestor: name(asked['attestor']),
      who: name(asked['who']) ?? '?',
      at: name(asked['at']) ?? '?',
      heardAtMs: time(asked['heard_at']),
      failingSinceMs: time(asked['failing_since']),
      reason: words(asked['reason']),
    })),
    manifests: list(from['manifests']).map((manifest) => ({
      source: name(manifest['source']) ?? '?',
      podsSelected: count(manifest['pods_selected']),
      entries: count(manifest['entries']),
      note: words(manifest['note']),
    })),
    authorities: list(from['authorities']).map((authority) => ({
      slot: name(authority['slot']) ?? '?',
      id: name(authority['id']),
      tainted: authority['tainted'] === true,
      revoked: authority['revoked'] === true,
      serial: name(authority['serial']),
      keyType: name(authority['key_type']),
      notBeforeMs: time(authority['not_before']),
      notAfterMs: time(authority['not_after']),
    })),
    bundleReaders: {
      readers: count(readers['readers']),
      behind: count(readers['behind']),
    },
    upstream: from['upstream'] == null ? null : parseUpstream(record(from['upstream'])),
    rotation: {
      held: count(rotation['held_svids']),
      due: count(rotation['due_svids']),
      earliestNotAfterMs: time(rotation['earliest_not_after']),
    },
    proxies: list(from['proxies']).map(parseProxy),
  };
}

function parseUpstream(from: Fields): UpstreamState {
  return {
    certFile: name(from['cert_file']) ?? '?',
    loadedAtMs: time(from['loaded_at']),
    lastError: words(from['last_error']),
    lastErrorAtMs: time(from['last_error_at']),
  };
}

function parseProxy(from: Fields): ProxyView {
  return {
    pid: count(from['pid']),
    uid: count(from['uid']),
    nodeId: name(from['node_id']),
    envoyVersion: name(from['envoy_version']),
    refusals: list(from['refusals']).map((refusal) => ({
      name: name(refusal['name']) ?? '?',
      reason: words(refusal['reason']) ?? '?',
      atMs: time(refusal['at']),
    })),
    streams: list(from['streams']).map((stream) => ({
      kind: name(stream['kind']),
      openedAtMs: time(stream['opened_at']),
      waiting: texts(stream['waiting']).map(clippedWords),
      absentNotShown: count(stream['absent_not_shown']) ?? 0,
      secrets: list(stream['secrets']).map(parseSecret),
    })),
  };
}

function parseSecret(from: Fields): SecretState {
  const refused = from['refused'] == null ? undefined : record(from['refused']);
  return {
    name: name(from['name']) ?? '?',
    state: STAGES.find((stage) => stage === from['state']) ?? 'none',
    sent: name(from['sent']),
    sentAtMs: time(from['sent_at']),
    unansweredSinceMs: time(from['unanswered_since']),
    acknowledged: name(from['acknowledged']),
    refused: refused
      ? { version: name(refused['version']) ?? '', text: words(refused['text']) ?? '' }
      : null,
    // The daemon's own word, whole: it is compared with what an Envoy says.
    spiffeId: text(from['spiffe_id']),
    serial: name(from['serial']),
    notBeforeMs: time(from['not_before']),
    notAfterMs: time(from['not_after']),
    nextRotationMs: time(from['next_rotation']),
    inUse: from['in_use'] == null ? null : parseInUse(record(from['in_use'])),
  };
}

function parseInUse(from: Fields): InUse {
  return {
    version: name(from['version']) ?? '',
    spiffeId: text(from['spiffe_id']),
    serial: name(from['serial']),
    notBeforeMs: time(from['not_before']),
    notAfterMs: time(from['not_after']),
  };
}

function time(value: unknown): number | null {
  const ms = Date.parse(text(value) ?? '');
  return Number.isNaN(ms) ? null : ms;
}

const name = (value: unknown) => clip(text(value), MAX_NAME);
const words = (value: unknown) => clip(text(value), MAX_WORDS);
const clippedWords = (value: string) => clip(value, MAX_WORDS) ?? '';

/** Characters that turn the direction of writing or hide are shown as what they are. */
function clip(value: string | null, length: number): string | null {
  if (value === null) return null;
  return oneLine(value.length > length ? `${value.slice(0, length)}…` : value);
}
