import type { Head } from './chain.ts';

/** Something about the place of the records that belongs among them. */
export interface Notice {
  readonly event: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Where records go. */
export interface Sink {
  /** What the first record follows. */
  readonly head: Head;
  /** The beginning of a record: of a file, or of a line of a log. */
  open(record: { readonly seq: number; readonly time: string; readonly event: string }): string;
  /**
   * What happened to the place since it was last looked at, to be recorded before the next record;
   * told until a line could be appended.
   */
  look(head: Head, isLast: boolean): Notice | undefined;
  /** Throws `ERR_DISK` when the line is not there as a whole; then nothing of it counts. */
  append(line: string): void;
  close(): void;
}
