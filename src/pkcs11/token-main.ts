// The process that holds a PKCS#11 module, started by the daemon: one line asks, one line answers.
import { Socket } from 'node:net';
import { loadCryptoki } from './cryptoki.ts';
import { lineReader } from './protocol.ts';
import { createAnswers } from './serve.ts';

/** Requests are the daemon's own. */
const MAX_REQUEST_BYTES = 1_048_576;

const daemon = new Socket({ fd: 3, readable: true, writable: true });
const answers = createAnswers(loadCryptoki, (line) => daemon.write(line));
const take = lineReader(MAX_REQUEST_BYTES, answers.take);
daemon.on('data', (chunk) => {
  if (!take(chunk)) process.exit(1);
});
// Without the daemon there is nobody to hold the token for.
daemon.on('error', () => process.exit(1));
daemon.on('close', () => {
  answers.finish();
  process.exit(0);
});
// A terminal's interrupt is the daemon's to decide on.
process.on('SIGINT', () => undefined);
