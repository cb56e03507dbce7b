// A reporter of Node's test runner: one line of JSON at the end, for scripts/test.mjs, with how many
// tests ran, which ones failed and which did not run.
import { relative } from 'node:path';

/** @param {AsyncIterable<{ type: string, data: any }>} events */
export default async function* tally(events) {
  let tests = 0;
  const failed = [];
  const left = [];
  for await (const { type, data } of events) {
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    const kind = ['skip', 'todo'].find((word) => data[word] !== undefined && data[word] !== false);
    if (kind) left.push(`${kind}: ${data.name} (${place(data)})${reason(data[kind])}`);
    if (data.details?.type === 'suite') continue;
    tests++;
    if (type === 'test:fail') failed.push(`${data.name} (${place(data)})`);
  }
  yield `${JSON.stringify({ tests, failed, left })}\n`;
}

/** `true` or an empty text when the test gave none. */
function reason(given) {
  return typeof given === 'string' && given !== '' ? `: ${given}` : '';
}

function place({ file, line }) {
  return file === undefined ? 'unknown file' : `${relative('', file)}:${line}`;
}
