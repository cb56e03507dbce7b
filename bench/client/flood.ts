import { connect, type Socket } from 'node:net';
import { bareCalls, cancelledCalls, wholeCalls } from './flood-bytes.ts';
import { clientPreface, createFrameReader, DEFAULT_WINDOW, FLAG, FRAME, frame } from './frames.ts';
import { DIALECTS } from './messages.ts';
import { createPeers, type Peers, type PeerSocket } from './peers.ts';

/** What a user without manners does. */
export const FLOODS = ['held calls', 'bursts of calls', 'resets', 'connect loops'] as const;
export type FloodKind = (typeof FLOODS)[number];

/** A flood from one user, over `LANES` connections at a time. */
export interface FloodPlan {
  readonly path: string;
  readonly uid: number;
  readonly kind: FloodKind;
  /** A user can always have another process; connect loops are made by one. */
  readonly from: 'one process' | 'new processes';
}

/** How much there was of it until now. */
export interface FloodCounts {
  readonly connections: number;
  readonly calls: number;
}

/** A flood that goes on until the process ends. */
export interface Flood {
  /** Throws when there was nothing left to flood with. */
  counts(): FloodCounts;
}

const LANES = 8;
/** A process that misbehaves is soon kept out: whoever floods in earnest has the next one ready. */
const PROCESSES = 800;
/** A lane takes its next process this long after the one before at the earliest. */
const NEXT_AFTER_MS = 250;
/** Within one process, this long after the end of the one before. */
const AGAIN_MS = 5;
/** How long a burst is left standing. */
const BURST_MS = 400;
const BURST = 1000;
/** Calls of one write. */
const BATCH = 100;

/** Begins to flood. From one process, this one becomes the user's for good. */
export async function startFlood(plan: FloodPlan): Promise<Flood> {
  if (plan.from === 'one process') {
    process.setgroups?.([]);
    process.setgid?.(plan.uid);
    process.setuid?.(plan.uid);
  }
  if (plan.kind === 'connect loops') return connectLoops(plan.path);
  const calls = createCalls(plan.kind);
  return plan.from === 'one process' ? floodFromHere(plan.path, calls) : floodFromMany(plan, calls);
}

/** Connections that are closed as soon as they stand. */
function connectLoops(path: string): Flood {
  let connections = 0;
  const loop = (): void => {
    const socket = connect(path);
    socket.on('connect', () => {
      connections++;
      socket.destroy();
    });
    // A full backlog.
    socket.on('error', () => undefined);
    socket.on('close', (failed) => (failed ? setTimeout(loop, 1) : setImmediate(loop)));
  };
  for (let lane = 0; lane < LANES; lane++) loop();
  return { counts: () => ({ connections, calls: 0 }) };
}

/** What is done with each connection. */
interface Calls {
  /** What is sent at once. */
  readonly opening: Buffer;
  begin(socket: Socket): void;
  counts(): FloodCounts;
}

function createCalls(kind: Exclude<FloodKind, 'connect loops'>): Calls {
  const burst = kind === 'bursts of calls';
  let connections = 0;
  let calls = 0;
  return {
    opening: burst ? Buffer.concat([clientPreface(), bareCalls(1, BURST)]) : clientPreface(),
    begin(socket) {
      connections++;
      socket.on('error', () => undefined);
      if (burst) {
        calls += BURST;
        socket.resume();
        setTimeout(() => socket.destroy(), BURST_MS);
      } else {
        pour(socket, kind === 'resets', (count) => (calls += count));
      }
    },
    counts: () => ({ connections, calls }),
  };
}

function floodFromHere(path: string, calls: Calls): Flood {
  const next = (): void => {
    const socket = connect(path);
    socket.on('connect', () => {
      socket.write(calls.opening);
      calls.begin(socket);
    });
    socket.on('error', () => undefined);
    socket.on('close', () => void setTimeout(next, AGAIN_MS));
  };
  for (let lane = 0; lane < LANES; lane++) next();
  return calls;
}

async function floodFromMany({ path, uid }: FloodPlan, calls: Calls): Promise<Flood> {
  const { opening } = calls;
  let left = PROCESSES;
  const peers: Peers = await createPeers(
    { path, count: PROCESSES, perProcess: 1, uids: [uid], retryMs: 0, opening },
    { connected: begin, refused: () => void setTimeout(next, NEXT_AFTER_MS) },
  );

  function next(): void {
    if (left > 0) peers.connect(1);
    left--;
  }

  function begin({ socket }: PeerSocket): void {
    const startMs = performance.now();
    socket.on('close', () => {
      setTimeout(next, Math.max(startMs + NEXT_AFTER_MS - performance.now(), 0));
    });
    calls.begin(socket);
  }

  for (let lane = 0; lane < LANES; lane++) next();
  return {
    counts() {
      if (left < 0) throw new Error(`the flood has used up its ${PROCESSES} processes`);
      return calls.counts();
    },
  };
}

/** Opens calls as fast as the server reads and its window for the connection lets them pass. */
function pour(socket: Socket, cancel: boolean, sent: (calls: number) => void): void {
  const request = DIALECTS['state of the world'].firstRequest('default', Buffer.alloc(0));
  const perBatch = cancel ? 0 : BATCH * request.length;
  let room = DEFAULT_WINDOW;
  let id = 1;
  let scheduled = false;

  const write = (): void => {
    scheduled = false;
    if (socket.destroyed || room < perBatch) return;
    room -= perBatch;
    const more = socket.write(cancel ? cancelledCalls(id, BATCH) : wholeCalls(id, BATCH, request));
    id += 2 * BATCH;
    sent(BATCH);
    if (more) schedule();
  };
  const schedule = (): void => {
    if (scheduled) return;
    scheduled = true;
    setImmediate(write);
  };
  const read = createFrameReader((type, flags, streamId, payload) => {
    if (type === FRAME.settings && !(flags & FLAG.ack)) {
      socket.write(frame(FRAME.settings, FLAG.ack, 0));
    } else if (type === FRAME.ping && !(flags & FLAG.ack)) {
      socket.write(frame(FRAME.ping, FLAG.ack, 0, payload));
    } else if (type === FRAME.windowUpdate && streamId === 0) {
      room += payload.readUInt32BE(0);
      schedule();
    } else if (type === FRAME.goAway) {
      socket.destroy();
    }
  });
  socket.on('data', read);
  socket.on('drain', schedule);
  schedule();
}
