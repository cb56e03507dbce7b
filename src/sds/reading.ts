import type { PeerCredentials } from '../identity/caller.ts';

/** A connection, as far as somebody decides when it is read. */
export interface Readable {
  readonly peer: PeerCredentials;
  /** Stops reading it, or goes on. */
  readonly pause: (paused: boolean) => void;
}

/** Decides whose connections are read while there are more calls than can be started at once. */
export interface Reading {
  add(connection: Readable): ReadConnection;
}

/** A connection that is looked after. */
export interface ReadConnection {
  /** A call was opened and waits; false when its user has too many: it is not to be kept. */
  opened(): boolean;
  /** A call does not wait any more. */
  started(): void;
  /** Whether it has more calls waiting than are read at once. */
  readonly busy: boolean;
  close(): void;
}

/** Waiting calls of one connection, and of one process, from which on it is not read. */
const PAUSE_AT = 64;
/** And few enough to read on. */
const RESUME_AT = 16;
/**
 * Waiting calls of one user from which on its connections are read in turns: one read may bring a
 * thousand calls, and all connections that are ready are read before the loop looks at other things.
 */
const PRESS_AT = 256;
/** Waiting calls of one user that are kept; each costs some kilobytes. */
const MAX_WAITING = 8192;

interface Connection extends Readable {
  readonly user: User;
  readonly process: Process;
  waiting: number;
  state: 'read' | 'held' | 'closed';
}

interface Process {
  waiting: number;
  connections: number;
  /** Held until the calls of the process have had their turns. */
  readonly blocked: Set<Connection>;
}

interface User {
  waiting: number;
  held: number;
  pressed: boolean;
  readonly connections: Set<Connection>;
  readonly processes: Map<number, Process>;
}

/** Calls back when it is the peer's turn to be read. */
type InTurn = (peer: PeerCredentials, resume: () => void) => void;

export function createReading(inTurn: InTurn): Reading {
  return new ReadingInTurns(inTurn);
}

class ReadingInTurns implements Reading {
  readonly #users = new Map<number, User>();
  readonly #inTurn: InTurn;

  constructor(inTurn: InTurn) {
    this.#inTurn = inTurn;
  }

  add({ peer, pause }: Readable): ReadConnection {
    const user = obtain(this.#users, peer.uid, newUser);
    const process = obtain(user.processes, peer.pid, newProcess);
    const connection: Connection = { peer, pause, user, process, waiting: 0, state: 'read' };
    process.connections++;
    user.connections.add(connection);
    if (user.pressed) this.#hold(connection);
    return {
      opened: () => this.#opened(connection),
      started: () => this.#started(connection),
      get busy() {
        return connection.waiting > PAUSE_AT;
      },
      close: () => this.#close(connection),
    };
  }

  #opened(connection: Connection): boolean {
    const { user } = connection;
    if (user.waiting >= MAX_WAITING) return false;
    count(connection, 1);
    if (connection.waiting > PAUSE_AT) this.#hold(connection);
    if (user.waiting > PRESS_AT && !user.pressed) {
      user.pressed = true;
      for (const one of user.connections) this.#hold(one);
    }
    return true;
  }

  #started(connection: Connection): void {
    const { process, user } = connection;
    count(connection, -1);
    if (process.waiting <= RESUME_AT && process.blocked.size > 0) {
      for (const one of process.blocked) this.#queue(one);
      process.blocked.clear();
    }
    relieve(user);
    this.#forget(connection);
  }

  #close(connection: Connection): void {
    if (connection.state === 'closed') return;
    if (connection.state === 'held') release(connection.user);
    connection.state = 'closed';
    connection.process.blocked.delete(connection);
    connection.process.connections--;
    connection.user.connections.delete(connection);
    this.#forget(connection);
  }

  #hold(connection: Connection): void {
    if (connection.state !== 'read') return;
    connection.state = 'held';
    connection.user.held++;
    connection.pause(true);
    this.#queue(connection);
  }

  #queue(connection: Connection): void {
    this.#inTurn(connection.peer, () => {
      if (connection.state !== 'held') return;
      if (connection.process.waiting > PAUSE_AT) connection.process.blocked.add(connection);
      else resume(connection);
    });
  }

  /** A user is forgotten with the last of its connections and of their calls. */
  #forget({ peer: { uid, pid }, process, user }: Connection): void {
    if (process.connections === 0 && process.waiting === 0) user.processes.delete(pid);
    if (user.connections.size === 0 && user.waiting === 0) this.#users.delete(uid);
  }
}

function resume(connection: Connection): void {
  connection.state = 'read';
  release(connection.user);
  connection.pause(false);
}

function release(user: User): void {
  user.held--;
  relieve(user);
}

/** Its connections are read freely again once none is held and few calls wait. */
function relieve(user: User): void {
  if (user.held === 0 && user.waiting <= PRESS_AT) user.pressed = false;
}

function count(connection: Connection, more: number): void {
  connection.waiting += more;
  connection.process.waiting += more;
  connection.user.waiting += more;
}

const newUser = (): User => ({
  ...{ waiting: 0, held: 0, pressed: false },
  connections: new Set(),
  processes: new Map(),
});

const newProcess = (): Process => ({ waiting: 0, connections: 0, blocked: new Set() });

function obtain<T>(map: Map<number, T>, key: number, make: () => T): T {
  let known = map.get(key);
  if (known === undefined) map.set(key, (known = make()));
  return known;
}
