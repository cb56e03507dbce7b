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

/** @param inTurn Calls back when it is the peer's turn to be read. */
export function createReading(
  inTurn: (peer: PeerCredentials, resume: () => void) => void,
): Reading {
  const users = new Map<number, User>();

  function hold(connection: Connection): void {
    if (connection.state !== 'read') return;
    connection.state = 'held';
    connection.user.held++;
    connection.pause(true);
    queue(connection);
  }

  function queue(connection: Connection): void {
    inTurn(connection.peer, () => {
      if (connection.state !== 'held') return;
      if (connection.process.waiting > PAUSE_AT) connection.process.blocked.add(connection);
      else resume(connection);
    });
  }

  function resume(connection: Connection): void {
    connection.state = 'read';
    release(connection.user);
    connection.pause(false);
  }

  function release(user: User): void {
    user.held--;
    if (user.held === 0 && user.waiting <= PRESS_AT) user.pressed = false;
  }

  function count(connection: Connection, more: number): void {
    connection.waiting += more;
    connection.process.waiting += more;
    connection.user.waiting += more;
  }

  function opened(connection: Connection): boolean {
    const { user } = connection;
    if (user.waiting >= MAX_WAITING) return false;
    count(connection, 1);
    if (connection.waiting > PAUSE_AT) hold(connection);
    if (user.waiting > PRESS_AT && !user.pressed) {
      user.pressed = true;
      for (const one of user.connections) hold(one);
    }
    return true;
  }

  function started(connection: Connection): void {
    const { process, user } = connection;
    count(connection, -1);
    if (process.waiting <= RESUME_AT && process.blocked.size > 0) {
      for (const one of process.blocked) queue(one);
      process.blocked.clear();
    }
    if (user.held === 0 && user.waiting <= PRESS_AT) user.pressed = false;
    forget(connection);
  }

  /** A user is forgotten with the last of its connections and of their calls. */
  function forget({ peer: { uid, pid }, process, user }: Connection): void {
    if (process.connections === 0 && process.waiting === 0) user.processes.delete(pid);
    if (user.connections.size === 0 && user.waiting === 0) users.delete(uid);
  }

  function close(connection: Connection): void {
    if (connection.state === 'closed') return;
    if (connection.state === 'held') release(connection.user);
    connection.state = 'closed';
    connection.process.blocked.delete(connection);
    connection.process.connections--;
    connection.user.connections.delete(connection);
    forget(connection);
  }

  return {
    add({ peer, pause }) {
      const user = obtain(users, peer.uid, newUser);
      const process = obtain(user.processes, peer.pid, newProcess);
      const connection: Connection = { peer, pause, user, process, waiting: 0, state: 'read' };
      process.connections++;
      user.connections.add(connection);
      if (user.pressed) hold(connection);
      return {
        opened: () => opened(connection),
        started: () => started(connection),
        get busy() {
          return connection.waiting > PAUSE_AT;
        },
        close: () => close(connection),
      };
    },
  };
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
