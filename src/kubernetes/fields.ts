/** Reads of a document that an API server wrote: whatever is not as expected counts as absent. */
export type Fields = Readonly<Record<string, unknown>>;

/** The members of an object; of anything else, none. */
export function record(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Fields)
    : {};
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** The members of an object that are texts. */
export function texts(value: unknown): ReadonlyMap<string, string> {
  const entries = Object.entries(record(value)).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  );
  return new Map(entries);
}
