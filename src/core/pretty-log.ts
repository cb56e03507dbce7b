/** One JSON log line as a line for people: time, level, message, then the fields. */
export function prettyLine(line: string): string {
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return line;
  }
  const { time, level, msg, err, ...rest } = fields;
  const clock = typeof time === 'string' ? time.slice(11, 23) : '';
  const details = Object.entries(rest).map(([key, value]) => `${key}=${shown(value)}`);
  if (typeof err === 'object' && err !== null && 'message' in err) {
    details.push(`err=${shown(err.message)}`);
  }
  const head = `${clock} ${String(level).toUpperCase().padEnd(5)} ${String(msg)}`;
  return `${[head, ...details].join('  ')}\n`;
}

function shown(value: unknown): string {
  return typeof value === 'string' && !/[\s"]/.test(value) ? value : JSON.stringify(value);
}
