/** What moves a cursor, colours, hides or turns the direction of writing; a line break as well. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu;
const UNPRINTABLE_BUT_BREAKS = /(?!\n)[\p{C}\p{Zl}\p{Zp}]/gu;
/** Nearly every text: no need to look closer. */
const PLAIN = /^[\n\x20-\x7e]*$/;

/**
 * A text of several lines as a terminal may have it: whoever chose it, it steers nothing. The form
 * of the escapes is that of JSON, so a JSON document stays the same document.
 */
export function harmless(text: string): string {
  return PLAIN.test(text) ? text : text.replace(UNPRINTABLE_BUT_BREAKS, escaped);
}

/** The same for a text that has to stay within its line: it cannot pretend to be another line. */
export function oneLine(text: string): string {
  return text.replace(UNPRINTABLE, escaped);
}

function escaped(character: string): string {
  return Array.from(
    { length: character.length },
    (_, n) => `\\u${character.charCodeAt(n).toString(16).padStart(4, '0')}`,
  ).join('');
}
