import { dirname } from 'node:path';
import type { ContainerPlace } from '../cgroup/container.ts';
import { abortReason, unlessAborted, type Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import type { Selector } from '../identity/selector.ts';
import type { EngineSocket } from './engine.ts';
import type { Inspection } from './inspection.ts';
import { createTurns, type Turns } from '../core/turns.ts';

/** Where the engines listen. */
export interface EnginePaths {
  /** Empty: that engine is not there. */
  readonly docker: string;
  readonly podman: string;
  /** With `%d` for the number of the user; empty: users' own containers are not asked about. */
  readonly rootless: string;
}

/** What the kernel says now of the process with a pid. */
export interface Init {
  readonly startTicks: number;
  /** The container it is in, if any. */
  readonly place: ContainerPlace | undefined;
}

export interface ContainersDeps {
  readonly paths: EnginePaths;
  readonly inspect: (
    engine: EngineSocket,
    id: string,
    options: { signal: AbortSignal },
  ) => Promise<Inspection>;
  /** Undefined when there is no such process. */
  readonly initOf: (pid: number) => Init | undefined;
  readonly clock: Clock;
}

/** What engines say of containers. */
export interface Containers {
  /**
   * At once while the container runs that was asked about before. Rejects with `ERR_ATTESTATION` when
   * its engine cannot be asked or says otherwise, `ERR_LIMIT` when too many wait, or the signal's
   * reason.
   */
  selectorsOf(
    place: ContainerPlace,
    options: AskOptions,
  ): readonly Selector[] | Promise<readonly Selector[]>;
  close(): void;
}

export interface AskOptions {
  readonly signal: AbortSignal;
  /** The user of the process that is asked about. */
  readonly uid: number;
}

/** A node has some hundreds of containers. */
const MOST_KNOWN = 1024;
const MACHINES = { most: 8, waiting: 2048, waitingEach: 512, waitMs: 10_000, restMs: 0 };
/** Who may make cgroups below a service can name as many containers as there are numbers. */
const UNPROVEN = { ...MACHINES, most: 2, waiting: 512, waitingEach: 64 };
/** What a user's own engine costs here is that user's choice: twenty short answers in a second. */
const USERS = { most: 1, waiting: 256, waitingEach: 256, waitMs: 10_000, restMs: 50 };
const MOST_BYTES = { machines: 1024 * 1024, users: 64 * 1024 };

interface Known {
  readonly selectors: readonly Selector[];
  readonly initPid: number;
  readonly startTicks: number;
}

/** One question for all that ask about a container, until the last of them has gone. */
interface Question {
  readonly told: Promise<Inspection>;
  readonly end: AbortController;
  askers: number;
}

export function createContainers(deps: ContainersDeps): Containers {
  return new AskedContainers(deps);
}

/**
 * Labels, environment and image of a container never change; its first process does when it is
 * restarted. What was said holds for as long as that process is the same.
 */
class AskedContainers implements Containers {
  readonly #deps: ContainersDeps;
  /** Of the machine's engines, by id; who was asked about longest ago comes first. */
  readonly #known = new Map<string, Known>();
  readonly #questions = new Map<string, Question>();
  readonly #turns = new Map<string, Turns>();
  readonly #closing = new AbortController();

  constructor(deps: ContainersDeps) {
    this.#deps = deps;
  }

  selectorsOf(place: ContainerPlace, options: AskOptions) {
    return this.#stillKnown(place) ?? this.#ask(place, options);
  }

  close(): void {
    this.#closing.abort(new IdentityError('ERR_SHUTDOWN', 'credence is shutting down'));
    for (const { end } of this.#questions.values()) end.abort(abortReason(this.#closing.signal));
  }

  #stillKnown(place: ContainerPlace): readonly Selector[] | undefined {
    // What a user says of a container holds no longer than it takes to say.
    if (place.uid !== undefined) return undefined;
    const known = this.#known.get(keyOf(place));
    if (!known) return undefined;
    const init = this.#deps.initOf(known.initPid);
    if (init?.startTicks === known.startTicks && isIn(init, place)) return known.selectors;
    this.#known.delete(keyOf(place));
    return undefined;
  }

  async #ask(place: ContainerPlace, options: AskOptions): Promise<readonly Selector[]> {
    const { selectors, initPid } = await this.#inspection(place, options);
    const init = initPid > 0 ? this.#deps.initOf(initPid) : undefined;
    const proven = init && isIn(init, place);
    if (place.unproven && !proven) {
      throw new IdentityError(
        'ERR_ATTESTATION',
        `container ${place.id.slice(0, 12)} does not run in the cgroup that names it`,
      );
    }
    if (proven && place.uid === undefined) {
      const { startTicks } = init;
      const key = keyOf(place);
      this.#known.delete(key);
      this.#known.set(key, { selectors, initPid, startTicks });
      for (const [oldest] of this.#known) {
        if (this.#known.size <= MOST_KNOWN) break;
        this.#known.delete(oldest);
      }
    }
    return selectors;
  }

  async #inspection(place: ContainerPlace, { signal, uid }: AskOptions): Promise<Inspection> {
    if (this.#closing.signal.aborted) throw abortReason(this.#closing.signal);
    const engine = this.#engineOf(place);
    // Who has proven its place must not wait behind those that have not.
    const key = `${engine.path} ${place.id} ${place.unproven}`;
    const question = this.#questions.get(key) ?? this.#begin(key, engine, place, uid);
    question.askers++;
    try {
      return await unlessAborted(question.told, signal);
    } finally {
      question.askers--;
      if (question.askers === 0) this.#forget(key, question);
    }
  }

  #begin(key: string, engine: EngineSocket, place: ContainerPlace, asker: number): Question {
    const end = new AbortController();
    const { signal } = end;
    const told = this.#turnsOf(engine, place).take(
      () => this.#deps.inspect(engine, place.id, { signal }),
      { signal, asker },
    );
    const question = { told, end, askers: 0 };
    this.#questions.set(key, question);
    return question;
  }

  /** Nobody waits for it any more: it leaves its queue, or its engine. */
  #forget(key: string, question: Question): void {
    if (this.#questions.get(key) === question) this.#questions.delete(key);
    question.end.abort(new IdentityError('ERR_PEER_GONE', 'nobody asks any more'));
  }

  #turnsOf({ path, users }: EngineSocket, { unproven }: ContainerPlace): Turns {
    const machines = unproven ? UNPROVEN : MACHINES;
    const key = `${path} ${unproven}`;
    const turns =
      this.#turns.get(key) ??
      createTurns(users ? USERS : machines, this.#deps.clock, () => this.#turns.delete(key));
    this.#turns.set(key, turns);
    return turns;
  }

  /** A user's own container is asked about at that user's socket and nowhere else. */
  #engineOf({ engine, uid }: ContainerPlace): EngineSocket {
    const { paths } = this.#deps;
    if (uid !== undefined) {
      const [trusted = ''] = paths.rootless.split('%d', 1);
      return {
        path: paths.rootless.replace('%d', String(uid)),
        users: { uid, below: dirname(`${trusted}x`) },
        mostBytes: MOST_BYTES.users,
      };
    }
    if (paths[engine] === '') {
      throw new IdentityError(
        'ERR_ATTESTATION',
        `the process is in a container of ${engine}, whose socket credence was not told`,
      );
    }
    return { path: paths[engine], users: undefined, mostBytes: MOST_BYTES.machines };
  }
}

function keyOf({ engine, id }: ContainerPlace): string {
  return `${engine} ${id}`;
}

function isIn({ place }: Init, { id, path }: ContainerPlace): boolean {
  return place?.id === id && place.path.join('/') === path.join('/');
}
