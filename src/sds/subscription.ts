import type { RefusalHistory } from './refusal-history.ts';
import {
  newSubscribed,
  noteAbsence,
  noteSame,
  noteSent,
  settle,
  type InUse,
  type SentResource,
  type SentSvid,
  type Subscribed,
} from './subscribed.ts';

/** What became of what a stream was sent. */
export interface PushState {
  /** Responses without an answer. */
  readonly unanswered: number;
  /** Since when a name has had no answer, the longest of all; wall clock in milliseconds. */
  readonly oldestMs: number | undefined;
  /** End of the certificate in use that ends first. */
  readonly notAfterMs: number | undefined;
  /** Names whose newest content the proxy refused. */
  readonly refused: number;
}

/** The outcome of a nonce that came back. */
export type Answer = 'current' | 'earlier' | 'stale';

/** Answers that may be outstanding before the oldest is forgotten. */
const MAX_OUTSTANDING = 32;
/** Names whose refusals are remembered when they are not watched any more. */
const MAX_HISTORIES = 64;

/**
 * What a stream asked for, was sent, accepted and refused, without regard to how the messages look:
 * state of the world and Delta are two codecs on it.
 */
export class Subscription {
  readonly #resources = new Map<string, Subscribed>();
  readonly #outstanding = new Map<string, readonly SentResource[]>();
  /** Those with the own trust domain's bundle; a stream may have thousands of others. */
  readonly #ownBundles = new Set<Subscribed>();
  /** Of names that are not watched now: to drop a name and ask for it again makes nothing undone. */
  readonly #histories = new Map<string, RefusalHistory>();
  #lastNonce: string | undefined;
  #wildcard = false;
  #stated = false;

  /** On a stream for names that strangers choose nothing asks for everything. */
  readonly onDemand: boolean;

  constructor(onDemand = false) {
    this.onDemand = onDemand;
  }

  /** Notes that a request has said what it wants; true for the first one. */
  state(): boolean {
    const first = !this.#stated;
    this.#stated = true;
    return first;
  }

  /** Watches whatever the caller holds, beside names it asked for. */
  get wildcard(): boolean {
    return this.#wildcard;
  }

  /** Nonce of the newest response, undefined before the first. */
  get lastNonce(): string | undefined {
    return this.#lastNonce;
  }

  /** Responses that have not been answered. */
  get unanswered(): number {
    return this.#outstanding.size;
  }

  pushes(): PushState {
    let oldestMs: number | undefined;
    let notAfterMs: number | undefined;
    let refused = 0;
    for (const { history, inUse, unansweredSinceMs } of this.#resources.values()) {
      if (history?.latest) refused++;
      oldestMs = earlier(oldestMs, unansweredSinceMs);
      notAfterMs = earlier(notAfterMs, inUse?.svid?.notAfterMs);
    }
    return { unanswered: this.unanswered, oldestMs, notAfterMs, refused };
  }

  /** Certificates that the proxy uses, and those it was sent and may use by now. */
  *svids(): Generator<SentSvid> {
    for (const { inUse, svid } of this.#resources.values()) {
      if (inUse?.svid) yield inUse.svid;
      if (svid && svid !== inUse?.svid) yield svid;
    }
  }

  get size(): number {
    return this.#resources.size;
  }

  /** Names that were asked for, not those of everything; counted anew each time. */
  get asked(): number {
    let asked = 0;
    for (const { named } of this.#resources.values()) if (named) asked++;
    return asked;
  }

  names(): IterableIterator<string> {
    return this.#resources.keys();
  }

  resources(): IterableIterator<Subscribed> {
    return this.#resources.values();
  }

  /** Starts watching a name. Asked for again after an unsubscribe it is answered anew. */
  subscribe(name: string): void {
    this.#watch(name).named = true;
  }

  /** Watches a name and answers it in any case: an unsubscribe may have been left out before it. */
  askAgain(name: string): void {
    const known = this.#watch(name);
    known.named = true;
    known.sent = undefined;
    known.absent = false;
  }

  unsubscribe(name: string): void {
    this.#forget(name);
  }

  /**
   * Makes the names that are asked for exactly these, and with `wildcard` watches whatever the
   * caller holds as well; true when that changed anything.
   */
  replace(names: ReadonlySet<string>, wildcard = false): boolean {
    let changed = this.#wildcard !== wildcard;
    this.#wildcard = wildcard;
    for (const known of [...this.#resources.values()]) {
      if (names.has(known.name)) continue;
      // It may be part of everything: `follow` knows, and what was sent need not be sent again.
      if (wildcard) known.named = false;
      else changed = this.#forget(known.name);
    }
    for (const name of names) {
      changed ||= !this.#resources.has(name);
      this.subscribe(name);
    }
    return changed;
  }

  /** Begins or ceases to watch whatever the caller holds, beside the names that are asked for. */
  watchEverything(on: boolean): void {
    this.#wildcard = on;
    if (!on) this.follow(new Set());
  }

  /**
   * Takes over what everything is now; what was asked for by name stays watched. Answers the names
   * of what was sent and is no more.
   */
  follow(everything: ReadonlySet<string>): string[] {
    const dropped: string[] = [];
    for (const { name, named, sent } of [...this.#resources.values()]) {
      if (named || everything.has(name)) continue;
      this.#forget(name);
      if (sent !== undefined) dropped.push(name);
    }
    for (const name of everything) this.#watch(name);
    return dropped;
  }

  /** Takes over what the process used under a name on an earlier stream. */
  recall(before: (name: string) => InUse | undefined): void {
    for (const known of this.#resources.values()) known.inUse ??= before(known.name);
  }

  /** Whether the proxy has yet to hear that there is nothing of this name. */
  isAbsenceDue(name: string): boolean {
    return this.#resources.get(name)?.absent === false;
  }

  /** Whether this content has to be written: it is neither what was sent last nor refused. */
  isDue(name: string, version: string): boolean {
    const known = this.#resources.get(name);
    return known !== undefined && known.sent !== version && !known.history?.has(version);
  }

  /**
   * How long another content of this name is still to be kept back, since the proxy refused the ones
   * before; 0: not at all.
   */
  restMs(name: string, nowMs: number): number {
    return this.#resources.get(name)?.history?.restMs(nowMs) ?? 0;
  }

  /** Whether any content of this name was written since it is watched. */
  wasSent(name: string): boolean {
    return this.#resources.get(name)?.sent !== undefined;
  }

  /** Records a response that is about to be written; `absent` are names it says are no more. */
  sent(
    nonce: string,
    resources: readonly SentResource[],
    nowMs: number,
    absent: readonly string[] = [],
  ): void {
    for (const name of absent) {
      const known = this.#resources.get(name);
      if (known) noteAbsence(known);
    }
    for (const resource of resources) {
      const known = this.#resources.get(resource.name);
      if (!known) continue;
      noteSent(known, resource, nowMs);
      if (known.ownBundle) this.#ownBundles.add(known);
      else this.#ownBundles.delete(known);
    }
    this.#lastNonce = nonce;
    this.#outstanding.set(nonce, resources);
    dropOldest(this.#outstanding, MAX_OUTSTANDING);
  }

  /** Notes what is there and need not be written, because it was. */
  unchanged(resource: SentResource): void {
    const known = this.#resources.get(resource.name);
    if (known) noteSame(known, resource);
  }

  /**
   * Sequence of the own trust domain's bundle that the proxy has accepted under all names it was sent
   * it; `none` when it was not, `behind` when these are several or one is not accepted.
   */
  get ownBundle(): number | 'none' | 'behind' {
    let all: number | 'none' = 'none';
    for (const { ownBundle } of this.#ownBundles) {
      const accepted = ownBundle?.accepted;
      if (accepted === undefined || (all !== 'none' && accepted !== all)) return 'behind';
      all = accepted;
    }
    return all;
  }

  /** Names of a response that has no answer yet. */
  sentWith(nonce: string): string[] {
    return (this.#outstanding.get(nonce) ?? []).map(({ name }) => name);
  }

  /**
   * Takes an answer. Envoy answers responses that were sent back to back one by one, so an earlier
   * nonce still says what became of its versions; only the newest may change the names.
   * `error` tells a refusal: versions are never compared, some proxies echo them oddly.
   */
  answered(nonce: string, error: string | undefined): Answer {
    const versions = this.#outstanding.get(nonce);
    if (versions) {
      this.#outstanding.delete(nonce);
      for (const resource of versions) {
        const known = this.#resources.get(resource.name);
        if (known) settle(known, resource, error);
      }
    }
    if (nonce === this.#lastNonce) return 'current';
    return versions ? 'earlier' : 'stale';
  }

  #watch(name: string): Subscribed {
    const known = this.#resources.get(name);
    if (known) return known;
    const fresh = newSubscribed(name, this.#histories.get(name));
    this.#histories.delete(name);
    this.#resources.set(name, fresh);
    return fresh;
  }

  /** Watches a name no more; true when it was watched. */
  #forget(name: string): boolean {
    const known = this.#resources.get(name);
    if (known) this.#ownBundles.delete(known);
    const history = known?.history;
    if (history) {
      this.#histories.set(name, history);
      dropOldest(this.#histories, MAX_HISTORIES);
    }
    return this.#resources.delete(name);
  }
}

/** The earlier of two times that may be missing. */
function earlier(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || (other !== undefined && other < one) ? other : one;
}

/** Keeps what is in order of arrival within its bound, one over it at the most. */
function dropOldest(all: Map<string, unknown>, most: number): void {
  if (all.size <= most) return;
  const oldest = all.keys().next();
  if (!oldest.done) all.delete(oldest.value);
}
