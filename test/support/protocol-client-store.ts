import type { DecodedSecret } from './secrets.ts';

/** A resource as it arrived. */
export type Arrived = DecodedSecret & { readonly version: string };

/** What is wrong with a secret, by itself; undefined when nothing is. */
export type Look = (secret: DecodedSecret) => string | undefined;

/** The content of a secret, comparable. */
export function contentOf({ name, kind, ...secret }: DecodedSecret): string {
  const { version: _, ...content } = { version: '', ...secret };
  return JSON.stringify([name, kind, content]);
}

const GONE = 'gone';

/**
 * The secrets of one provider as Envoy keeps them: a new one and its hash are stored before the TLS
 * context is built, so refused bytes that come again are taken for unchanged and accepted. Beside
 * that it keeps account of what the server sent and had no reason to.
 */
export class ProtocolStore {
  /** The next new content does not build. */
  refuseNext = false;
  readonly #faults: string[];
  readonly #look: Look;
  /** Latest content of each name, whether it could be used or not. */
  readonly #stored = new Map<string, string>();
  /** In use, which a removal does not change. */
  readonly #active = new Map<string, string>();
  readonly #accepted = new Map<string, string>();
  /** Content that did not build here, ever. */
  readonly #bad = new Set<string>();
  /** Content that did: it does so again. */
  readonly #built = new Set<string>();
  /** Of this stream: the last thing that came under each name. */
  readonly #received = new Map<string, string>();
  /** Of this stream: content that stood in a response that was refused. */
  readonly #refused = new Set<string>();
  /** Part of it that the server has surely heard of. */
  #pinned = new Set<string>();
  /** Answers to a repeated question that may change nothing. */
  readonly #owed = new Map<string, number>();
  /** Names that were asked for and have had no answer since. */
  readonly #open = new Set<string>();
  readonly #contentOfVersion = new Map<string, string>();

  constructor(faults: string[], look: Look) {
    this.#faults = faults;
    this.#look = look;
  }

  /** Names that the server has sent and not taken back on this stream. */
  get held(): ReadonlySet<string> {
    return new Set([...this.#received].filter(([, c]) => c !== GONE).map(([name]) => name));
  }

  /** Whether anything was refused, after which the server takes its time. */
  get hasRefused(): boolean {
    return this.#bad.size > 0;
  }

  /** Whether it was asked for and nothing came. */
  isUnanswered(name: string): boolean {
    return this.#open.has(name);
  }

  active(name: string): string | undefined {
    return this.#active.get(name);
  }

  /** Whether the server may know that this content is refused. */
  isRefused(content: string): boolean {
    return this.#refused.has(content) || this.#bad.has(content);
  }

  isBad(content: string | undefined): boolean {
    return content !== undefined && this.#bad.has(content);
  }

  initialVersions(): Record<string, string> {
    return Object.fromEntries(this.#accepted);
  }

  streamOpened(names: Iterable<string>): void {
    this.#received.clear();
    this.#refused.clear();
    this.#pinned.clear();
    this.#owed.clear();
    this.#open.clear();
    for (const name of names) this.asked(name);
  }

  asked(name: string): void {
    this.#owed.set(name, (this.#owed.get(name) ?? 0) + 1);
    this.#open.add(name);
  }

  forget(name: string): void {
    this.#open.delete(name);
    const stored = this.#stored.get(name);
    const received = this.#received.get(name);
    for (const content of [stored, received]) {
      if (content === undefined) continue;
      this.#refused.delete(content);
      this.#pinned.delete(content);
    }
    for (const map of [this.#stored, this.#active, this.#accepted, this.#received]) {
      map.delete(name);
    }
  }

  forgetAllBut(names: ReadonlySet<string>): void {
    const known = [...this.#stored.keys(), ...this.#received.keys()];
    for (const name of known) if (!names.has(name)) this.forget(name);
  }

  /** Nothing is on its way in either direction: owed is only what could not be answered yet. */
  settled(): void {
    this.#owed.clear();
    this.#open.delete('*');
    for (const name of this.#open) this.#owed.set(name, 1);
    this.#pinned = new Set(this.#refused);
  }

  /** Judges a response as it arrives. */
  arrived(
    secrets: readonly Arrived[],
    removed: readonly string[],
    names: ReadonlySet<string>,
  ): void {
    const all = [...secrets.map(({ name }) => name), ...removed];
    if (new Set(all).size < all.length) this.#fault(`a name twice in ${all.join(' ')}`);
    if (all.length === 0) this.#fault('a response without anything in it');
    for (const secret of secrets) {
      const content = contentOf(secret);
      const fault = this.#look(secret);
      if (fault !== undefined) this.#fault(fault);
      const version = `${secret.name} ${secret.version}`;
      const before = this.#contentOfVersion.get(version) ?? content;
      if (before !== content) this.#fault(`version ${version} of two contents`);
      this.#contentOfVersion.set(version, content);
      if (this.#pinned.has(content)) this.#fault(`refused content of ${secret.name} again`);
      if (isWatched(secret.name, names)) this.#note(secret.name, content);
    }
    for (const name of removed) {
      if (isWatched(name, names)) this.#note(name, GONE);
    }
  }

  /** Takes a response over; answers why Envoy refuses it. */
  take(
    secrets: readonly Arrived[],
    removed: readonly string[],
    names: ReadonlySet<string>,
  ): string | undefined {
    let error: string | undefined;
    for (const secret of secrets) {
      const { name } = secret;
      const content = contentOf(secret);
      if (!isWatched(name, names) || this.#stored.get(name) === content) continue;
      this.#stored.set(name, content);
      if (this.refuseNext && !this.#built.has(content)) {
        this.refuseNext = false;
        this.#bad.add(content);
        error = `Failed to load ${name}`;
      } else if (!this.#bad.has(content)) {
        this.#built.add(content);
        this.#active.set(name, content);
      }
    }
    for (const name of removed) this.#accepted.delete(name);
    for (const secret of secrets) {
      if (error !== undefined) this.#refused.add(contentOf(secret));
      else this.#accepted.set(secret.name, secret.version);
    }
    return error;
  }

  #note(name: string, content: string): void {
    if (this.#received.get(name) === content) {
      const owed = (this.#owed.get(name) ?? 0) + (this.#owed.get('*') ?? 0);
      if (owed === 0) this.#fault(`${name} came again and has not changed`);
    }
    this.#owed.set(name, Math.max((this.#owed.get(name) ?? 0) - 1, 0));
    this.#open.delete(name);
    this.#received.set(name, content);
  }

  #fault(text: string): void {
    this.#faults.push(text);
  }
}

function isWatched(name: string, names: ReadonlySet<string>): boolean {
  return names.has(name) || names.has('*');
}
