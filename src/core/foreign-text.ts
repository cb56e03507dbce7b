/** What moves a cursor, colours, hides, turns the direction of writing or breaks the line. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]+/gu;

/**
 * What somebody else has written, fit to stand in a sentence of ours: one line that steers no
 * terminal, of at most so many characters.
 */
export function foreignText(text: string, mostChars = 300): string {
  // Cut first: how long it is was theirs to choose. Once more, as a character may have two halves.
  const [...characters] = text.slice(0, 2 * mostChars).replace(UNPRINTABLE, ' ');
  const shown = characters.slice(0, mostChars).join('').trim();
  return characters.length > mostChars || text.length > 2 * mostChars ? `${shown} …` : shown;
}
