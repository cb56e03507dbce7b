/** Bytes before each message: a flag and the length (gRPC over HTTP/2, "Length-Prefixed-Message"). */
const PREFIX_BYTES = 5;
/** Pieces that any message may come in. */
const FREE_PIECES = 64;
/** A message of this size more may come in one piece more; HTTP/2 frames have 16 kB and more. */
const BYTES_PER_PIECE = 512;

/**
 * Follows the messages of one stream to tell how much of an unfinished one lies in memory, and
 * whether it comes in pieces so small that they cost far more than their bytes: grpc-js keeps an
 * object of some 150 bytes for each frame until the message is whole.
 */
export class MessageMeter {
  /** Bytes of the unfinished message that have arrived. */
  buffered = 0;

  readonly #maxMessageBytes: number;
  #prefix = 0;
  #size = 0;
  #rest = 0;
  #pieces = 0;

  constructor(maxMessageBytes: number) {
    this.#maxMessageBytes = maxMessageBytes;
  }

  /** Whether the unfinished message is larger than any may be: grpc-js ends the stream for it. */
  get tooLarge(): boolean {
    return this.#prefix === PREFIX_BYTES && this.#size > this.#maxMessageBytes;
  }

  /** Takes the next bytes in; false when the message comes in too small pieces. */
  take(piece: Uint8Array): boolean {
    let start = 0;
    for (let at = 0; at < piece.length;) {
      if (this.#prefix < PREFIX_BYTES) {
        this.#readPrefix(piece[at++] ?? 0);
      } else {
        const taken = Math.min(this.#rest, piece.length - at);
        this.#rest -= taken;
        at += taken;
      }
      if (this.#prefix === PREFIX_BYTES && this.#rest === 0) {
        this.#begin();
        start = at;
      }
    }
    if (this.#prefix === 0) return true;
    // What is too large was refused when its length was read, and is not kept.
    if (this.tooLarge) this.buffered = 0;
    else this.buffered += piece.length - start;
    return ++this.#pieces <= FREE_PIECES + this.#size / BYTES_PER_PIECE;
  }

  #readPrefix(byte: number): void {
    if (this.#prefix++ > 0) this.#size = this.#size * 256 + byte;
    this.#rest = this.#size;
  }

  #begin(): void {
    this.#prefix = 0;
    this.#size = 0;
    this.#pieces = 0;
    this.buffered = 0;
  }
}
