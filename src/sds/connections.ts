import type { Duplex } from 'node:stream';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import type { PeerCredentials } from '../identity/caller.ts';
import type { IdentityError } from '../core/errors.ts';
import type { Admission, Entry } from './admission.ts';
import type { Connection } from './context.ts';
import { oneATurn } from './one-a-turn.ts';
import { createReadKeeper, type ReadKeeper } from './read-keeper.ts';

/** A connection and the socket it goes over. */
interface Served {
  readonly connection: Connection;
  readonly socket: Duplex;
  entry: Exclude<Entry, { kind: 'closed' }>;
}

interface ConnectionsDeps {
  readonly admission: Admission;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The open connections by id, which is the `remoteAddress` of their sockets. */
export class Connections {
  readonly #deps: ConnectionsDeps;
  readonly #byId = new Map<string, Served>();
  readonly #reading: ReadKeeper;

  constructor(deps: ConnectionsDeps) {
    this.#deps = deps;
    this.#reading = createReadKeeper(deps.clock);
  }

  /** Takes a connection in; false when it is one too many and has been closed. */
  add(socket: Duplex, connection: Connection): boolean {
    const { admission, log } = this.#deps;
    const { credentials, id } = connection;
    const entry = admission.enter(credentials);
    if (entry.kind === 'closed') {
      log.warn({ ...peerFields(credentials), reason: entry.reason }, 'connection refused');
      socket.destroy();
      return false;
    }
    const served: Served = { connection, socket, entry };
    this.#byId.set(id, served);
    socket.once('close', () => {
      this.#byId.delete(id);
      admission.leave(credentials, served.entry.kind);
    });
    this.#reading.add(socket);
    return true;
  }

  get(id: string | undefined): Connection | undefined {
    return this.#served(id)?.connection;
  }

  /** Why no call is served on a connection that is one too many; looked at anew each time. */
  refusal(id: string): IdentityError | undefined {
    const served = this.#served(id);
    if (served?.entry.kind !== 'told') return undefined;
    if (!this.#deps.admission.promote(served.connection.credentials)) return served.entry.refusal;
    served.entry = { kind: 'taken' };
    return undefined;
  }

  /** The peer speaks HTTP/2. */
  greeted(id: string | undefined): void {
    const served = this.#served(id);
    if (served) this.#reading.greeted(served.socket);
  }

  pauseReading(id: string | undefined, paused: boolean): void {
    const served = this.#served(id);
    if (served) this.#reading.pause(served.socket, paused);
  }

  /** Closes a connection for what its peer did, after this has returned. */
  close(id: string | undefined, reason: string): void {
    const served = this.#served(id);
    if (served) this.#close({ served, reason });
  }

  /** Looks after nothing any more; open connections are not closed. */
  stop(): void {
    this.#reading.close();
  }

  #served(id: string | undefined): Served | undefined {
    return id === undefined ? undefined : this.#byId.get(id);
  }

  // Not at once: destroyed while its input is worked through it would corrupt the memory. And one by
  // one: the end of a connection is that of up to a thousand streams.
  readonly #close = oneATurn(({ served, reason }: { served: Served; reason: string }) => {
    const { connection, socket } = served;
    if (socket.destroyed) return;
    this.#deps.log.warn({ ...peerFields(connection.credentials), reason }, 'connection closed');
    this.#deps.admission.blame(connection.credentials);
    socket.destroy();
  });
}

function peerFields({ pid, uid }: PeerCredentials) {
  return { peer_pid: pid, peer_uid: uid };
}
