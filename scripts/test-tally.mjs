// A reporter of Node's test runner: one line of JSON at the end, for scripts/test.mjs, with how many
// tests ran and which ones did not.
import { relative } from 'node:path';

/** @param {AsyncIterable<{ type: string, data: any }>} events */
export default async function* tally(events) {
  const count = { tests: 0, failed: 0 };
  const left = [];
  for await (const { type, data } of events) {
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    const kind = ['skip', 'todo'].find((word) => data[word] !== undefined && data[word] !== false);
    if (kind) left.push(`${kind}: ${data.name} (${place(data)})`);
    if (data.details?.type === 'suite') continue;
    count.tests++;
    if (type === 'test:fail') count.failed++;
  }
  yield `${JSON.stringify({ ...count, left })}\n`;
}

function place({ file, line }) {
  return file === undefined ? 'unknown file' : `${relative('', file)}:${line}`;
}
