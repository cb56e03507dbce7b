import { span } from './time.ts';

/** The life of a certificate; wall clock of the daemon in milliseconds. */
export interface Life {
  readonly beginMs: number | null;
  readonly endMs: number | null;
  /** When it is to be replaced; null when nothing is planned. */
  readonly turnMs: number | null;
}

/** `due`: should have been replaced by now. `over`: nobody accepts it any more. */
export type Tone = 'good' | 'due' | 'over';

/** A life as an instrument shows it: parts of the whole, from 0 at its begin to 1 at its end. */
export interface Reading {
  readonly spent: number;
  readonly turn: number | null;
  readonly tone: Tone;
  readonly expires: string;
  readonly rotates: string | null;
}

/** How long after its moment a replacement is still on its way: one is signed and sent in less. */
const GRACE_MS = 2000;

/** What a life looks like at a moment; undefined without an end. */
export function readLife({ beginMs, endMs, turnMs }: Life, nowMs: number): Reading | undefined {
  if (endMs === null) return undefined;
  const part = (ms: number) =>
    beginMs === null || endMs <= beginMs ? 0 : clamp((ms - beginMs) / (endMs - beginMs));
  const over = nowMs >= endMs;
  const due = turnMs !== null && nowMs - turnMs > GRACE_MS;
  return {
    spent: over ? 1 : part(nowMs),
    turn: turnMs === null ? null : part(turnMs),
    tone: over ? 'over' : due ? 'due' : 'good',
    expires: over ? `expired ${span(nowMs - endMs)} ago` : `expires in ${span(endMs - nowMs)}`,
    rotates: turnMs === null ? null : rotation(turnMs - nowMs, due),
  };
}

function rotation(leftMs: number, due: boolean): string {
  return due ? `rotation overdue by ${span(-leftMs)}` : `rotates in ${span(leftMs)}`;
}

const clamp = (part: number) => Math.min(Math.max(part, 0), 1);
