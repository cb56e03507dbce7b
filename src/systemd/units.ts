import { setMaxListeners } from 'node:events';
import { abortReason, unlessAborted, type Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import { askFault, socketFault, type AskFault } from '../core/socket-fault.ts';
import { createTurns } from '../core/turns.ts';
import type { Bus } from './bus.ts';
import type { Message, MethodCall } from './wire.ts';

/** A unit as systemd's manager of the machine knows it. */
export interface Unit {
  readonly id: string;
  /** The file it is from; empty for one that is from none. */
  readonly fragmentPath: string;
}

export interface Units {
  /**
   * The unit of the process that has this pid now; undefined when it is in none. Rejects with
   * `ERR_ATTESTATION` when systemd cannot be asked, `ERR_LIMIT` when too many wait, or the signal's
   * reason.
   */
  unitOf(pid: number, options: AskOptions): Promise<Unit | undefined>;
  close(): void;
}

export interface AskOptions {
  readonly signal: AbortSignal;
  /** The user of the process that is asked about. */
  readonly uid: number;
}

export interface UnitsDeps {
  /** Of the bus; for what is said of it. */
  readonly path: string;
  readonly open: (options: { signal: AbortSignal }) => Promise<Bus>;
  readonly clock: Clock;
  /** Told whether systemd could be asked: why not, or undefined. */
  readonly told?: (why: AskFault | undefined) => void;
}

const DEADLINE_MS = 5000;
const AT_ONCE = { most: 32, waiting: 2048, waitingEach: 512, waitMs: 10_000, restMs: 0 };
const MANAGER = {
  destination: 'org.freedesktop.systemd1',
  path: '/org/freedesktop/systemd1',
  interface: 'org.freedesktop.systemd1.Manager',
} as const;
/** Errors that are not about the process: nobody answers for systemd, or nobody may ask it. */
const OF_ALL =
  /\.(?:AccessDenied|ServiceUnknown|NameHasNoOwner|NoReply|Disconnected|LimitsExceeded|Spawn\..*)$/;
const NO_UNIT = 'org.freedesktop.systemd1.NoUnitForPID';

/** A connection, perhaps not made yet, and what ends it. */
interface Link {
  readonly bus: Promise<Bus>;
  readonly end: AbortController;
}

export function createUnits({ path, open, clock, told = () => undefined }: UnitsDeps): Units {
  const closing = new AbortController();
  const { signal: closed } = closing;
  setMaxListeners(0, closed);
  const turns = createTurns(AT_ONCE, clock, () => undefined);
  let link: Link | undefined;

  function connect(): Link {
    if (closed.aborted) throw abortReason(closed);
    const end = new AbortController();
    link = { bus: open({ signal: end.signal }), end };
    return link;
  }

  /** One connection for all, and another one when that has ended. */
  async function onBus<T>(work: (bus: Bus) => Promise<T>): Promise<T> {
    const shared = link;
    if (shared) {
      const bus = await shared.bus.catch(() => undefined);
      try {
        if (bus && !bus.closed) return await work(bus);
      } catch (thrown) {
        // The bus was restarted since: it may be asked again.
        if (!bus?.closed || thrown instanceof TooLate) throw thrown;
      }
    }
    const next = link && link !== shared ? link : connect();
    return work(await next.bus);
  }

  /** A connection on which nothing is answered in time is given up, and all that wait there. */
  async function inTime<T>(begin: () => Promise<T>): Promise<T> {
    const late = new TooLate(`no answer within ${DEADLINE_MS / 1000} s`);
    const deadline = new AbortController();
    const told = begin();
    const used = link;
    const timer = clock.after(DEADLINE_MS, () => {
      deadline.abort(late);
      // Another one, opened since, is not to blame.
      if (used !== link) return;
      link?.end.abort(late);
      link = undefined;
    });
    try {
      return await unlessAborted(told, deadline.signal);
    } finally {
      timer.cancel();
    }
  }

  async function ask(pid: number): Promise<Unit | undefined> {
    return onBus(async (bus) => {
      const found = await bus.call({ ...MANAGER, member: 'GetUnitByPID', args: [pid] });
      if (found.type === 'error' && found.errorName === NO_UNIT) return undefined;
      const unit = textOf(found);
      const [id, fragmentPath] = await Promise.all(
        ['Id', 'FragmentPath'].map(async (name) => textOf(await bus.call(property(unit, name)))),
      );
      if (id === undefined || id === '' || fragmentPath === undefined) throw unexpected();
      // The root of all: newer managers name it for processes that are in no unit.
      if (id === '-.slice') return undefined;
      return { id, fragmentPath };
    });
  }

  return {
    async unitOf(pid, { signal, uid }) {
      const answer = turns.take(() => inTime(() => ask(pid)), { signal, asker: uid });
      try {
        const unit = await unlessAborted(unlessAborted(answer, closed), signal);
        told(undefined);
        return unit;
      } catch (thrown) {
        if (thrown instanceof IdentityError || thrown === signal.reason) throw thrown;
        // What it says of a process is that one's matter, unless it says nothing to anybody.
        told(thrown instanceof Answered ? undefined : askFault(thrown));
        throw failed(path, thrown);
      }
    },
    close() {
      const reason = new IdentityError('ERR_SHUTDOWN', 'credence is shutting down');
      closing.abort(reason);
      link?.end.abort(reason);
    },
  };
}

/** An object path is names of letters, digits and underscores. */
const OBJECT_PATH = /^(?:\/[A-Za-z0-9_]+)+$/;

function property(unit: string, name: string): MethodCall {
  if (!OBJECT_PATH.test(unit)) throw unexpected();
  return {
    destination: MANAGER.destination,
    path: unit,
    interface: 'org.freedesktop.DBus.Properties',
    member: 'Get',
    args: ['org.freedesktop.systemd1.Unit', name],
  };
}

function textOf({ type, text, errorName }: Message): string {
  if (type === 'error') {
    const words = `it answers with ${errorName}`;
    throw OF_ALL.test(errorName) ? new Error(words) : new Answered(words);
  }
  if (text === undefined) throw unexpected();
  return text;
}

class TooLate extends Error {}
/** An answer, though none to go on with. */
class Answered extends Error {}

const unexpected = () => new Answered('it answers something else than was asked');

function failed(path: string, thrown: unknown): IdentityError {
  const message = `cannot ask systemd at ${path}: ${socketFault(thrown)}`;
  return new IdentityError('ERR_ATTESTATION', message, { cause: thrown });
}
