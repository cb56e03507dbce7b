// A well-behaved proxy in a process of its own: connects again and again and prints how long its
// first secret took, one number a line, or what went wrong. Ends with its input.
//   node --import tsx sds-witness.ts SOCKET
import { setTimeout as pause } from 'node:timers/promises';
import { connectProxy } from './sds-proxy.ts';

process.stdin.resume().once('end', () => process.exit(0));
for (;;) {
  const started = performance.now();
  using proxy = connectProxy(process.argv[2] ?? '');
  const stream = proxy.stream();
  stream.ask('default');
  try {
    await stream.next();
    console.log((performance.now() - started).toFixed(1));
  } catch (thrown) {
    console.log(String(thrown));
  }
  stream.cancel();
  await pause(20);
}
