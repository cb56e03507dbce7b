// A process of its own that holds a stream as Envoy does, and asks again when it ends. Writes a line for
// each answer and each end: node held-stream.cjs SOCKET FILE NAME...
import { appendFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { openSdsStream } from './sds-stream.ts';

const [socketPath = '', file = '', ...names] = process.argv.slice(2);
const say = (line: string) => appendFileSync(file, `${line}\n`);

async function hold(): Promise<void> {
  using stream = openSdsStream(socketPath, names);
  for (let told = 0; ; await delay(20)) {
    for (; told < stream.responses.length; told++) say('answer');
    const ended = stream.ended();
    if (ended) return say(`end ${ended.code} ${ended.details}`);
  }
}

async function main(): Promise<void> {
  for (;;) {
    await hold();
    await delay(200);
  }
}

void main();
