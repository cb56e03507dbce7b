import { BEGINNING, MAX_LINE_BYTES, readRecord, sha256, type Head } from './chain.ts';

/** Where a chain breaks. */
export interface Break {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** Of the record that is wrong or missing there; undefined when nobody can tell. */
  readonly seq: number | undefined;
  readonly reason: string;
}

/** What was found of a chain, in one file or in several that continue each other. */
export interface Verdict {
  readonly records: number;
  /** The last record that hangs on all before it. */
  readonly head: Head;
  /** When that was written. */
  readonly time: string | undefined;
  /** The first that is wrong; undefined when the chain is whole. */
  readonly broken: Break | undefined;
}

export interface VerifyOptions {
  /** Hash of the record before the first one, where the files before are not at hand. */
  readonly after?: string | undefined;
  /** Hash of a record that was there before. */
  readonly expect?: string | undefined;
  /** The files are logs: lines of others are passed over, and each start begins a chain. */
  readonly isLog?: boolean;
}

/** What nobody need keep of a line that is too long to be a record. */
const MAX_KEPT_BYTES = MAX_LINE_BYTES + 1;
const NEWLINE = 0x0a;
const OF_AUDIT = Buffer.from('"component":"audit"');

/** Reads files of records in their order and looks for the first that does not hang on the others. */
export class Verifier {
  readonly #options: VerifyOptions;
  #file = '';
  #line = 0;
  #head: Head | undefined;
  #time: string | undefined;
  #records = 0;
  #expected = false;
  #broken: Break | undefined;
  /** The line before was no record; the next one has to have its hash. */
  #part: { readonly hash: string; readonly reason: string; readonly at: Break } | undefined;
  #rest: Buffer = Buffer.alloc(0);

  constructor(options: VerifyOptions = {}) {
    this.#options = options;
  }

  /** Whether the first fault was found: nothing that follows is looked at. */
  get isBroken(): boolean {
    return this.#broken !== undefined;
  }

  begin(file: string): void {
    this.#file = file;
    this.#line = 0;
  }

  /** The next bytes of the file, in pieces of any length. */
  take(bytes: Uint8Array): void {
    let piece = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : Buffer.from(bytes);
    for (let at = piece.indexOf(NEWLINE); at >= 0; at = piece.indexOf(NEWLINE)) {
      this.#take(piece.subarray(0, at));
      piece = piece.subarray(at + 1);
    }
    this.#rest = Buffer.from(piece.subarray(0, MAX_KEPT_BYTES));
  }

  /** The file ends here. */
  end(): void {
    if (this.#rest.length > 0) this.#take(this.#rest);
    this.#rest = Buffer.alloc(0);
  }

  verdict(): Verdict {
    const { expect } = this.#options;
    this.#broken ??= this.#part?.at;
    if (!this.#broken && expect !== undefined && !this.#expected) {
      this.#break(`no record has the hash ${expect}: it was taken away, or all was written anew`);
    }
    const head = this.#head ?? BEGINNING;
    return { records: this.#records, head, time: this.#time, broken: this.#broken };
  }

  #take(line: Buffer): void {
    this.#line++;
    if (this.#broken) return;
    if (this.#options.isLog && !line.includes(OF_AUDIT)) return;
    const record = readRecord(line);
    if (typeof record === 'string') return this.#takePart(line, record);
    if (this.#part && record.resumed !== this.#part.hash) {
      this.#broken = this.#part.at;
      return;
    }
    if (!this.#part && record.resumed !== undefined) {
      return this.#break('it says that the line before was cut short, which it was not');
    }
    this.#part = undefined;
    const fault = this.#linkFault(record);
    if (fault !== undefined) return this.#break(fault);
    this.#head = { seq: record.seq, hash: record.hash };
    this.#time = record.time;
    this.#records++;
    if (record.hash === this.#options.expect) this.#expected = true;
  }

  /** A crash cuts one line short, and the next record tells of it. */
  #takePart(line: Buffer, reason: string): void {
    if (this.#part) this.#broken = this.#part.at;
    else this.#part = { hash: sha256(line), reason, at: this.#breakAt(reason) };
  }

  #linkFault({ seq, prev, event }: Head & { prev: string; event: string }): string | undefined {
    const { after, isLog } = this.#options;
    const begins = seq === 1 && prev === BEGINNING.hash;
    if (begins && isLog && event === 'started') return undefined;
    const head = this.#head;
    if (!head) {
      if (after === undefined ? begins : prev === after) return undefined;
      return after === undefined
        ? `it has seq ${seq}, and the records before it are not there`
        : `it does not follow the record ${after}`;
    }
    if (begins) return 'a chain begins here, though the one before has not ended';
    if (seq > head.seq + 1)
      return `it has seq ${seq}: what is between it and ${head.seq} is missing`;
    if (seq <= head.seq) return `it has seq ${seq}, which was there before`;
    return prev === head.hash ? undefined : 'it does not follow the record before it';
  }

  #break(reason: string): void {
    this.#broken = this.#breakAt(reason);
  }

  #breakAt(reason: string): Break {
    const before = this.#head ?? (this.#options.after === undefined ? BEGINNING : undefined);
    return { file: this.#file, line: this.#line, seq: before && before.seq + 1, reason };
  }
}
