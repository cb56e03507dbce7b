/** Reads of a JSON document that another process wrote: whatever is not as expected counts as absent. */
export type Fields = Readonly<Record<string, unknown>>;

/** The members of an object; of anything else, none. */
export const record = (value: unknown): Fields =>
  typeof value === 'object' && value !== null ? { ...value } : {};

/** The objects of a list. */
export const list = (value: unknown): readonly Fields[] =>
  Array.isArray(value) ? value.map(record) : [];

export const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);

export const count = (value: unknown): number | null => (typeof value === 'number' ? value : null);

/** The texts of a list. */
export const texts = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
