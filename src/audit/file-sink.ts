import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  readSync,
  statSync,
  writeSync,
  type Stats,
} from 'node:fs';
import type { Clock, Timer } from '../core/clock.ts';
import { errorText } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import { RECORD_VERSION, sha256, type Head } from './chain.ts';
import { fault, openAuditFile } from './open-file.ts';
import type { Notice, Sink } from './sink.ts';

/** write(2) of a text; how many bytes of it are in the file. */
export type WriteText = (fd: number, text: string) => number;

export interface FileSinkDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** Something is wrong that no caller is told of. */
  readonly onFault: () => void;
  /** Default: the system's. */
  readonly write?: WriteText | undefined;
}

/** How late what was written is brought to the disk. */
const SYNC_MS = 1000;
/** How long a file is taken for the one at the path and as long as it was. */
const LOOK_MS = 1000;
const NEWLINE = 0x0a;

const writeText: WriteText = (fd, text) => writeSync(fd, text, null, 'latin1');

/** Records in a file; throws `ERR_DISK` when it cannot be used. */
export function createFileSink(path: string, deps: FileSinkDeps): Sink {
  return new FileSink(path, deps);
}

class FileSink implements Sink {
  readonly head: Head;
  readonly #path: string;
  readonly #deps: FileSinkDeps;
  readonly #write: WriteText;
  #fd: number;
  #stats: Stats;
  /** How long the file is if nobody else touched it. */
  #size: number;
  /** What the next record has to say, until it has said so. */
  #pending: Notice | undefined;
  /** A line break is missing. */
  #open: boolean;
  /** Runs while something is written that may not be on the disk. */
  #due: Timer | undefined;
  /** Descriptors that are being brought to the disk, and what follows on that. */
  readonly #syncing = new Map<number, { again: boolean; thenClose: boolean }>();
  #lookedAtMs = -Infinity;
  /** Why the file at the path is not the one that is written to, said once. */
  #complaint: string | undefined;

  constructor(path: string, deps: FileSinkDeps) {
    const { fd, stats, tail } = openAuditFile(path);
    this.#path = path;
    this.#deps = deps;
    this.#write = deps.write ?? writeText;
    this.#fd = fd;
    this.#stats = stats;
    this.#size = stats.size;
    this.#open = tail.open;
    if (tail.part !== undefined) this.#note('continued', { resumed: tail.part });
    this.head = tail.head;
  }

  open({ seq, time, event }: { seq: number; time: string; event: string }): string {
    return `{"v":${RECORD_VERSION},"seq":${seq},"time":"${time}","event":"${event}"`;
  }

  /** Once in a while, and before the last record: the file may have been moved away, or cut. */
  look(head: Head, isLast: boolean): Notice | undefined {
    const nowMs = this.#deps.clock.monotonic();
    if (isLast || nowMs - this.#lookedAtMs >= LOOK_MS) {
      if (!this.#follow(head)) this.#measure();
      // Not when that threw: the next record finds it no better.
      this.#lookedAtMs = nowMs;
    }
    return this.#pending;
  }

  append(line: string): void {
    const text = this.#open ? `\n${line}` : line;
    let written = 0;
    try {
      written = this.#write(this.#fd, text);
      if (written !== text.length) {
        throw new Error(`only ${written} of ${text.length} bytes fit, the disk is full`);
      }
    } catch (thrown) {
      if (written > 0) this.#takeBack(text.slice(0, written));
      throw fault(this.#path, `does not take a record: ${errorText(thrown)}`, undefined, thrown);
    }
    this.#size += written;
    this.#open = false;
    this.#pending = undefined;
    this.#due ??= this.#deps.clock.after(SYNC_MS, () => {
      this.#due = undefined;
      this.#sync(this.#fd, false);
    });
  }

  close(): void {
    this.#due?.cancel();
    this.#due = undefined;
    try {
      fdatasyncSync(this.#fd);
    } catch (thrown) {
      this.#report(thrown);
    }
    const running = this.#syncing.get(this.#fd);
    if (running) running.thenClose = true;
    else closeSync(this.#fd);
  }

  /** What could be appended only in part goes again; where it may not, the next record tells of it. */
  #takeBack(part: string): void {
    try {
      if (fstatSync(this.#fd).size !== this.#size + part.length) throw new Error('it has grown');
      ftruncateSync(this.#fd, this.#size);
    } catch {
      this.#size += part.length;
      this.#open = true;
      this.#note('continued', { resumed: sha256(part.replace(/^\n/, '')) });
    }
  }

  #note(event: string, fields: Notice['fields']): void {
    this.#pending = { event, fields: { ...this.#pending?.fields, ...fields } };
  }

  /** Goes on in a new file when the path names another one than before; true when it did. */
  #follow(head: Head): boolean {
    const there = statSync(this.#path, { throwIfNoEntry: false });
    if (there && isSame(there, this.#stats)) return false;
    try {
      const next = openAuditFile(this.#path);
      const { size } = next.stats;
      if (size > 0 && (next.tail.head.hash !== head.hash || next.tail.part !== undefined)) {
        closeSync(next.fd);
        throw fault(this.#path, 'holds another chain, or another part of this one');
      }
      this.#due?.cancel();
      this.#due = undefined;
      this.#sync(this.#fd, true);
      this.#fd = next.fd;
      this.#stats = next.stats;
      this.#size = size;
      this.#open = next.tail.open;
      this.#complaint = undefined;
      this.#note('continued', {});
      return true;
    } catch (thrown) {
      this.#stay(thrown);
      return false;
    }
  }

  /** The old file goes on being right, unless it has no name any more: then its records would be lost. */
  #stay(thrown: unknown): void {
    if (fstatSync(this.#fd).nlink === 0) throw thrown;
    const reason = errorText(thrown);
    if (this.#complaint === reason) return;
    this.#complaint = reason;
    const said = 'the audit log was moved and cannot be begun anew, records go on in the old file';
    this.#deps.onFault();
    this.#deps.log.error({ path: this.#path, reason }, said);
  }

  /** Whoever cuts the file, or writes to it, shows in the chain; it is said as well. */
  #measure(): void {
    const { size } = fstatSync(this.#fd);
    const expected = this.#size;
    if (size === expected) return;
    this.#size = size;
    this.#open = size > 0 && this.#lastByte(size) !== NEWLINE;
    this.#deps.onFault();
    const detail = `it has ${size} bytes, expected ${expected}`;
    this.#deps.log.error({ path: this.#path, detail }, 'somebody else changed the audit log');
    this.#note(size < expected ? 'truncated' : 'foreign_bytes', { size, expected });
  }

  #lastByte(size: number): number | undefined {
    const byte = Buffer.alloc(1);
    return readSync(this.#fd, byte, 0, 1, size - 1) === 1 ? byte[0] : undefined;
  }

  /** Brings a file to the disk, off the event loop; one that is written to no more is closed then. */
  #sync(fd: number, thenClose: boolean): void {
    const running = this.#syncing.get(fd);
    if (running) {
      running.again = true;
      running.thenClose ||= thenClose;
      return;
    }
    const state = { again: false, thenClose };
    this.#syncing.set(fd, state);
    fdatasync(fd, (error) => {
      this.#syncing.delete(fd);
      if (error) this.#report(error);
      if (state.again) this.#sync(fd, state.thenClose);
      else if (state.thenClose) closeSync(fd);
    });
  }

  #report(thrown: unknown): void {
    this.#deps.onFault();
    const fields = { path: this.#path, err: thrown };
    this.#deps.log.error(fields, 'the audit log may not be on the disk');
  }
}

const isSame = (a: Stats, b: Stats) => a.ino === b.ino && a.dev === b.dev;
