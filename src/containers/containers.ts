import { setMaxListeners } from 'node:events';
import { dirname } from 'node:path';
import type { ContainerPlace } from '../cgroup/container.ts';
import { unlessAborted, type Clock } from '../core/clock.ts';
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
    options: { signal: AbortSignal },
  ): readonly Selector[] | Promise<readonly Selector[]>;
  close(): void;
}

/** A node has some hundreds of containers. */
const MOST_KNOWN = 1024;
const MACHINES = { most: 8, waiting: 2048, restMs: 0, mostBytes: 1024 * 1024 };
/** What a user's own engine costs here is that user's choice: twenty short answers in a second. */
const USERS = { most: 1, waiting: 256, restMs: 50, mostBytes: 64 * 1024 };

interface Known {
  readonly selectors: readonly Selector[];
  readonly initPid: number;
  readonly startTicks: number;
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
  readonly #asking = new Map<string, Promise<Inspection>>();
  readonly #turns = new Map<string, Turns>();
  readonly #closing = new AbortController();

  constructor(deps: ContainersDeps) {
    this.#deps = deps;
    setMaxListeners(0, this.#closing.signal);
  }

  selectorsOf(place: ContainerPlace, { signal }: { signal: AbortSignal }) {
    const known = this.#stillKnown(place);
    return known ?? unlessAborted(this.#ask(place), signal);
  }

  close(): void {
    this.#closing.abort(new IdentityError('ERR_SHUTDOWN', 'credence is shutting down'));
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

  async #ask(place: ContainerPlace): Promise<readonly Selector[]> {
    const { selectors, initPid } = await this.#inspection(place);
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

  /** One question for all that ask about a container, however many they are. */
  #inspection(place: ContainerPlace): Promise<Inspection> {
    const engine = this.#engineOf(place);
    const key = `${engine.path} ${place.id}`;
    const asked = this.#asking.get(key);
    if (asked) return asked;
    const { signal } = this.#closing;
    const asking = this.#turnsOf(engine)
      .take(() => this.#deps.inspect(engine, place.id, { signal }), { signal })
      .finally(() => this.#asking.delete(key));
    this.#asking.set(key, asking);
    return asking;
  }

  #turnsOf({ path, users }: EngineSocket): Turns {
    const limits = users ? USERS : MACHINES;
    const turns =
      this.#turns.get(path) ??
      createTurns(limits, this.#deps.clock, () => this.#turns.delete(path));
    this.#turns.set(path, turns);
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
        mostBytes: USERS.mostBytes,
      };
    }
    if (paths[engine] === '') {
      throw new IdentityError(
        'ERR_ATTESTATION',
        `the process is in a container of ${engine}, whose socket credence was not told`,
      );
    }
    return { path: paths[engine], users: undefined, mostBytes: MACHINES.mostBytes };
  }
}

function keyOf({ engine, id }: ContainerPlace): string {
  return `${engine} ${id}`;
}

function isIn({ place }: Init, { id, path }: ContainerPlace): boolean {
  return place?.id === id && place.path.join('/') === path.join('/');
}
