import { formatDuration, parseDuration } from './core/duration.ts';
import { trustDomainFault } from './identity/spiffe-id.ts';

/** The kinds of values a setting can have; `parse` turns a plain value into ours or complains. */
export interface Format {
  /** What is expected, to end the sentence «expected …». */
  readonly expected: string;
  /** Undefined when the value does not fit. Text comes from YAML or from the environment. */
  readonly parse: (value: unknown) => unknown;
}

/** One setting: its place in the file, its default as one would write it, and what it means. */
export interface Setting {
  readonly key: string;
  readonly format: Format;
  /** Undefined: there is no default. */
  readonly fallback: unknown;
  readonly doc: string;
}

export const text: Format = {
  expected: 'a text',
  parse: (value) => (typeof value === 'string' && value !== '' ? value : undefined),
};

export const optionalText: Format = {
  expected: 'a text, which may be empty',
  parse: (value) => (typeof value === 'string' ? value : undefined),
};

export const texts: Format = {
  expected: 'a list of texts',
  parse(value) {
    const list: unknown = typeof value === 'string' ? value.split(',').filter(Boolean) : value;
    const fits = Array.isArray(list) && list.every((item) => typeof item === 'string' && item);
    return fits ? list : undefined;
  },
};

export const flag: Format = {
  expected: 'true or false',
  parse: (value) =>
    value === true || value === 'true'
      ? true
      : value === false || value === 'false'
        ? false
        : undefined,
};

export const trustDomain: Format = {
  expected: 'a trust domain name: a-z, 0-9, dot, dash and underscore, without spiffe://',
  parse: (value) =>
    typeof value === 'string' && trustDomainFault(value) === undefined ? value : undefined,
};

export function duration(minMs: number, maxMs: number): Format {
  const atLeast = minMs > 0 ? `at least ${formatDuration(minMs)} and ` : '';
  const range = `${atLeast}at most ${formatDuration(maxMs)}`;
  return {
    expected: `a duration such as 250ms, 30s, 10m, 1h or 7d, ${range}`,
    parse(value) {
      const ms = typeof value === 'string' ? parseDuration(value) : undefined;
      return ms !== undefined && ms >= minMs && ms <= maxMs ? ms : undefined;
    },
  };
}

export function number(min: number, max: number, whole: boolean): Format {
  return {
    expected: `a ${whole ? 'whole ' : ''}number from ${min} to ${max}`,
    parse(value) {
      const read = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
      const fits =
        typeof read === 'number' &&
        read >= min &&
        read <= max &&
        (!whole || Number.isInteger(read));
      return fits ? read : undefined;
    },
  };
}

export function oneOf(...words: readonly string[]): Format {
  return {
    expected: `one of ${words.join(', ')}`,
    parse: (value) => (typeof value === 'string' && words.includes(value) ? value : undefined),
  };
}

export const setting = (key: string, format: Format, fallback: unknown, doc: string): Setting => ({
  key,
  format,
  fallback,
  doc,
});
