/** Names of namespaces, some of them with `*` in them. */
export interface Namespaces {
  readonly has: (name: string) => boolean;
}

/** What a name of Kubernetes may hold, and `*`; patterns are no longer than names can need. */
const PATTERN = /^[a-z0-9*-]{1,128}$/;

/**
 * What is wrong with the text as a pattern, or undefined. SPIRE Controller Manager takes regular
 * expressions: those that say no more than "begins with" or "any text" are understood as well.
 */
export function namespaceFault(text: string): string | undefined {
  if (PATTERN.test(plain(text))) return undefined;
  return 'expected a name, in which * stands for any text; of regular expressions only ^, $ and .* are known';
}

/** Whether a name is, as a whole, one of the patterns, none of which `namespaceFault` faults. */
export function namespacesOf(texts: readonly string[]): Namespaces {
  const patterns = texts.map((text) => plain(text).split('*'));
  return { has: (name) => patterns.some((pieces) => fits(pieces, name)) };
}

function plain(text: string): string {
  return text.replace(/^\^/, '').replace(/\$$/, '').replaceAll('.*', '*');
}

/** Looks for each piece after the one before, never back: its time is that of reading the name. */
function fits(pieces: readonly string[], name: string): boolean {
  const [first = '', ...rest] = pieces;
  const last = rest.pop();
  if (last === undefined) return name === first;
  if (!name.startsWith(first)) return false;
  let at = first.length;
  for (const piece of rest) {
    const found = name.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return name.length - last.length >= at && name.endsWith(last);
}
