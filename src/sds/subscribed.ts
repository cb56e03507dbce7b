import type { SpiffeId } from '../identity/spiffe-id.ts';
import { RefusalHistory } from './refusal-history.ts';

/** Life of a certificate, for display; wall clock in milliseconds. */
export interface SentSvid {
  readonly id: SpiffeId;
  readonly serial: string;
  /** Subject key identifier of the CA that signed it, lower-case hex. */
  readonly authorityId: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly renewAtMs: number;
}

/** One resource of a response. */
export interface SentResource {
  readonly name: string;
  readonly version: string;
  /** Undefined for a trust bundle. */
  readonly svid: SentSvid | undefined;
  /** Sequence of the own trust domain's bundle in it, undefined where there is none. */
  readonly ownBundle?: number | undefined;
}

/** What one stream knows about one resource. Versions are digests of the content. */
export interface Subscribed {
  readonly name: string;
  /** Asked for by name, not only with everything. */
  named: boolean;
  /** Version last written to the stream, undefined before the first and after an absence. */
  sent: string | undefined;
  /** The proxy was told that there is nothing of this name, and not otherwise since. */
  absent: boolean;
  /** When it was written, wall clock in milliseconds. */
  sentAtMs: number;
  /** When the first content was written that has no answer yet. */
  unansweredSinceMs: number | undefined;
  /** The certificate that was written, undefined for a trust bundle. */
  svid: SentSvid | undefined;
  /** Version the proxy last accepted. */
  acknowledged: string | undefined;
  /** What it last accepted, and goes on using after an absence. */
  inUse: InUse | undefined;
  /** Of the own trust domain's bundle, if it is in it: as it was last written and accepted. */
  ownBundle: { sent: number; accepted: number | undefined } | undefined;
  /** Made with the first refusal. */
  history: RefusalHistory | undefined;
}

/** Content that a proxy uses. */
export interface InUse {
  readonly version: string;
  /** Undefined for a trust bundle. */
  readonly svid: SentSvid | undefined;
}

export function newSubscribed(name: string, history: RefusalHistory | undefined): Subscribed {
  return {
    name,
    named: false,
    sent: undefined,
    absent: false,
    sentAtMs: 0,
    unansweredSinceMs: undefined,
    svid: undefined,
    acknowledged: undefined,
    inUse: undefined,
    ownBundle: undefined,
    history,
  };
}

/** Notes that a content is about to be written. */
export function noteSent(known: Subscribed, resource: SentResource, nowMs: number): void {
  const { version, svid, ownBundle } = resource;
  known.sent = version;
  known.absent = false;
  known.sentAtMs = nowMs;
  known.unansweredSinceMs ??= nowMs;
  known.svid = svid;
  if (ownBundle === undefined) known.ownBundle = undefined;
  else known.ownBundle = { sent: ownBundle, accepted: known.ownBundle?.accepted };
}

/** Notes that what was sent is what would be sent of a later bundle, whose content is the same. */
export function noteSame(known: Subscribed, { version, ownBundle }: SentResource): void {
  if (ownBundle === undefined || known.sent !== version || !known.ownBundle) return;
  known.ownBundle.sent = ownBundle;
  if (known.acknowledged === version) known.ownBundle.accepted = ownBundle;
}

/** Notes that the proxy is about to be told that there is nothing of this name. */
export function noteAbsence(known: Subscribed): void {
  known.absent = true;
  known.sent = undefined;
  known.acknowledged = undefined;
  known.unansweredSinceMs = undefined;
  known.svid = undefined;
}

/** Takes the proxy's answer to a content; `error` are its words when it refused. */
export function settle(known: Subscribed, resource: SentResource, error: string | undefined): void {
  const { version } = resource;
  // What was sent since then is still without an answer.
  if (version === known.sent) known.unansweredSinceMs = undefined;
  else if (known.unansweredSinceMs !== undefined) known.unansweredSinceMs = known.sentAtMs;
  if (error === undefined) return accept(known, resource);
  known.history ??= new RefusalHistory();
  known.history.refused(version, error, known.sentAtMs);
}

function accept(known: Subscribed, { version, svid, ownBundle }: SentResource): void {
  // Refused bytes that are accepted when repeated are no recovery: Envoy compares hashes.
  if (known.history?.has(version)) return;
  known.acknowledged = version;
  known.inUse = { version, svid };
  if (known.ownBundle && ownBundle !== undefined) {
    known.ownBundle.accepted = version === known.sent ? known.ownBundle.sent : ownBundle;
  }
  known.history?.accepted();
}
