/** One JSON log line as a line for people: time, level, message, then the fields. */
export function prettyLine(line: string): string {
  const fields = parseObject(line);
  if (!fields) return line;
  const { time, level, msg, err, ...rest } = fields;
  const clock = typeof time === 'string' ? time.slice(11, 23) : '';
  const details = Object.entries(rest).map(([key, value]) => `${key}=${shown(value)}`);
  if (typeof err === 'object' && err !== null && 'message' in err) {
    details.push(`err=${shown(err.message)}`);
  }
  const head = `${clock} ${String(level).toUpperCase().padEnd(5)} ${String(msg)}`;
  return `${[head, ...details].join('  ')}\n`;
}

function parseObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Fields may hold what a peer sent: what would move a terminal's cursor, colour it or turn the
 * direction of writing is written as an escape (JSON itself leaves U+007F and above as they are).
 */
function shown(value: unknown): string {
  if (typeof value === 'string' && /^[^\s"\p{C}]+$/u.test(value)) return value;
  return JSON.stringify(value).replace(
    /[\p{C}\u2028\u2029]/gu,
    (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`,
  );
}
