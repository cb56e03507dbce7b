/** How much of a text a screen holds. */
export interface ScreenSize {
  readonly rows: number;
  readonly columns: number;
}

/**
 * As many lines as a screen holds without scrolling, with a last one that says how many more there
 * are. A long line takes several rows; one row stays free for the cursor.
 */
export function frame(text: string, { rows, columns }: ScreenSize): string {
  const lines = text.replace(/\n$/, '').split('\n');
  const room = Math.max(rows - 1, 1);
  const heights = lines.map((line) => Math.max(Math.ceil(width(line) / columns), 1));
  const fitting = countFitting(heights, room);
  if (fitting === lines.length) return ended(lines);
  const kept = countFitting(heights, room - 1);
  const more = lines.length - kept;
  return ended([...lines.slice(0, kept), `… ${more} more ${more === 1 ? 'line' : 'lines'}`]);
}

function countFitting(heights: readonly number[], room: number): number {
  let used = 0;
  const first = heights.findIndex((height) => (used += height) > room);
  return first === -1 ? heights.length : first;
}

/** In columns; what is not ASCII may be two wide, and a frame that is too short does no harm. */
function width(line: string): number {
  let columns = 0;
  for (const character of line) columns += character <= '~' ? 1 : 2;
  return columns;
}

const ended = (lines: readonly string[]) => lines.map((line) => `${line}\n`).join('');
