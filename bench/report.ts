import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Machine } from './machine.ts';
import { spread } from './stats.ts';

/** Which way is better, and how far it should go. */
export interface Bound {
  readonly goal: number;
  readonly stretch: number;
  /** Pushes per second are better the more there are; all else the less. */
  readonly more?: boolean;
}

/** One line of the table. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  /** One value for each run. */
  readonly runs: readonly number[];
  readonly bound?: Bound;
}

const RESULTS = fileURLToPath(new URL('results/', import.meta.url));

/** The figures as a table of plain text. */
export function table(figures: readonly Figure[]): string {
  const rows = figures.map(({ name, unit, runs, bound }) => {
    const { median, min, max } = spread(runs);
    return [
      name,
      `${round(median)} ${unit}`,
      runs.length > 1 ? `${round(min)} - ${round(max)}` : '',
      bound ? round(bound.goal) : '',
      bound ? round(bound.stretch) : '',
      bound ? verdict(median, bound) : '',
    ];
  });
  const all = [['figure', 'median', 'runs lie in', 'goal', 'stretch', ''], ...rows];
  const widths = [0, 1, 2, 3, 4, 5].map((column) =>
    Math.max(...all.map((row) => row[column]?.length ?? 0)),
  );
  const pad = (cell: string, column: number): string => {
    const width = widths[column] ?? 0;
    return column === 0 ? cell.padEnd(width) : cell.padStart(width);
  };
  const line = (row: readonly string[]): string => row.map(pad).join('  ').trimEnd();
  const [head = [], ...body] = all;
  return [line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...body.map(line)].join(
    '\n',
  );
}

function verdict(value: number, { goal, stretch, more = false }: Bound): string {
  const reaches = (bound: number): boolean => (more ? value >= bound : value <= bound);
  if (reaches(stretch)) return 'stretch';
  return reaches(goal) ? 'goal' : 'MISSED';
}

/** Three digits that count; thousands in full. */
function round(value: number): string {
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US');
  return String(Number(value.toPrecision(3)));
}

/** Everything needed to compare this run with another one. */
export interface Result {
  readonly takenAt: string;
  readonly machine: Machine;
  readonly options: object;
  readonly figures: readonly Figure[];
}

/** Writes the result beside the earlier ones; returns the file's path. */
export async function writeResult(result: Result): Promise<string> {
  await mkdir(RESULTS, { recursive: true });
  const path = join(RESULTS, `${result.takenAt.replace(/[:.]/g, '-')}.json`);
  await writeFile(path, `${JSON.stringify(result, null, 2)}\n`);
  return path;
}
