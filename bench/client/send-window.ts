import { dataFrames, type Opening, type Outgoing } from './opening.ts';
import { DEFAULT_WINDOW } from './frames.ts';

/** What may be sent when, RFC 9113 section 5.2: one window for the connection, one for each stream. */
export class SendWindow {
  #connection = DEFAULT_WINDOW;
  #initial = DEFAULT_WINDOW;
  readonly #streams = new Map<number, number>();
  #waiting: Outgoing[];

  /** Starts with what the opening has used already. */
  constructor(opening: Opening) {
    this.#waiting = [...opening.later];
    const held = new Map(opening.later.map((piece) => [piece.streamId, piece.bytes.length]));
    for (const { id, requestBytes } of opening.streams) {
      const sent = requestBytes - (held.get(id) ?? 0);
      this.#streams.set(id, DEFAULT_WINDOW - sent);
      this.#connection -= sent;
    }
  }

  /** Frames for `bytes`, or for as much as fits; the rest follows when a window opens. */
  send(streamId: number, bytes: Buffer): Buffer[] {
    this.#waiting.push({ streamId, bytes });
    return this.#flush();
  }

  /** The peer's WINDOW_UPDATE; stream 0 is the connection. */
  widen(streamId: number, increment: number): Buffer[] {
    if (streamId === 0) this.#connection += increment;
    else this.#streams.set(streamId, this.#window(streamId) + increment);
    return this.#flush();
  }

  /** The peer's SETTINGS_INITIAL_WINDOW_SIZE, which also moves the windows of open streams. */
  setInitial(size: number): Buffer[] {
    const change = size - this.#initial;
    this.#initial = size;
    for (const [id, window] of this.#streams) this.#streams.set(id, window + change);
    return this.#flush();
  }

  #window(streamId: number): number {
    return this.#streams.get(streamId) ?? this.#initial;
  }

  #flush(): Buffer[] {
    const frames: Buffer[] = [];
    const waiting: Outgoing[] = [];
    for (const piece of this.#waiting) {
      const { streamId, bytes } = piece;
      const room = Math.max(Math.min(this.#connection, this.#window(streamId), bytes.length), 0);
      if (room > 0) {
        frames.push(...dataFrames(streamId, bytes.subarray(0, room)));
        this.#connection -= room;
        this.#streams.set(streamId, this.#window(streamId) - room);
      }
      if (room < bytes.length) waiting.push({ streamId, bytes: bytes.subarray(room) });
    }
    this.#waiting = waiting;
    return frames;
  }
}
