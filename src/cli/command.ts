import type { Clock } from '../core/clock.ts';

/** A flag of a command: with a value unless it is a switch. */
export interface Flag {
  readonly name: string;
  /** Placeholder of the value in help, as in `--config FILE`; undefined for a switch. */
  readonly value?: string;
  readonly doc: string;
}

/**
 * What a command reads and writes. Results go to `out`, everything else to `err`; commands get both
 * with a guard (`program`): no text that came from outside reaches a terminal as more than text.
 */
export interface Terminal {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Whether `err`, where the log goes, is a terminal. */
  readonly isTTY: boolean;
  /** The screen that `out` writes to; undefined when that is no terminal. */
  readonly screen: Screen | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether there is something at a path of this machine. */
  readonly exists: (path: string) => boolean;
  readonly clock: Clock;
  /** Aborted when the user wants the command to end. */
  readonly signal: AbortSignal;
}

/** A screen on which one picture replaces the other. */
export interface Screen {
  /** How much it holds now: its user may resize it. */
  size(): { readonly rows: number; readonly columns: number };
  /** Shows this text and nothing else, without a cursor. No guard: the text has to be harmless. */
  draw(text: string): void;
  /** Shows what was there before the first picture, and the cursor. */
  restore(): void;
}

/** The flags that were given: texts, or true for switches. */
export type Given = Readonly<Record<string, string | boolean | undefined>>;

/** One command of the executable; `load` brings its code in when it is called. */
export interface Command {
  /** Words that call it, as in `bundle show`. */
  readonly words: string;
  /** The value after the words: for help, and which it may be; undefined for any. */
  readonly operands?: {
    readonly doc: string;
    readonly allowed: readonly string[] | undefined;
    /** Flags may stand in its place. */
    readonly optional?: boolean;
    /** One or more of them, where any may stand there. */
    readonly several?: boolean;
  };
  readonly summary: string;
  readonly flags: readonly Flag[];
  /** Ends the help: what holds when nothing is said. */
  readonly note?: string;
  readonly load: () => Promise<Action>;
}

/** Runs a command and answers its exit code; throws `IdentityError`. */
export type Action = (
  given: Given,
  operands: readonly string[],
  terminal: Terminal,
) => Promise<number>;

/** A text flag's value. */
export function textOf(given: Given, name: string): string | undefined {
  const value = given[name];
  return typeof value === 'string' ? value : undefined;
}
