// npm run demo: the daemon and two Envoys from envoy-configs/, mTLS between them, certificates that
// live 20 seconds, constant requests, and what happens to them. Ctrl-C ends it and cleans up.
//
//   node scripts/demo.mjs [--seconds N]      (N: ends by itself; exit 1 when a request failed)
import { rmSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { register } from 'tsx/esm/api';

register();
const { FIXED_PORTS, findPlace } = await import('../test/support/bootstrap-file.ts');
const { createDaemon, entryForMe } = await import('../test/support/daemon.ts');
const { envoyBinary } = await import('../test/support/envoy-binary.ts');
const { CLIENT, SERVER, startPair, startWatchedLoad } = await import('../test/support/pair.ts');

const SVID_TTL = '20s';
const DRAW_MS = 200;
const LINE_MS = 5_000;
/** A path this long leaves room for the socket's name in the 107 bytes there are. */
const MAX_DIR_BYTES = 90;

const { values } = parseArgs({ options: { seconds: { type: 'string' } } });
const seconds = values.seconds === undefined ? Infinity : Number(values.seconds);
if (!(seconds > 0)) {
  console.error('usage: node scripts/demo.mjs [--seconds N]');
  process.exit(64);
}

const stopping = new AbortController();
/** A terminal signals the whole group and npm passes the same signal on: one Ctrl-C arrives twice. */
const SAME_REQUEST_MS = 1_000;
let askedAt;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    const now = performance.now();
    askedAt ??= now;
    // Asked again, it is meant.
    if (now - askedAt > SAME_REQUEST_MS) process.exit(130);
    stopping.abort();
  });
}
// A terminal that is closed takes nothing any more: the demo ends, and still cleans up.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', () => stopping.abort());
}

/** What has been started, to be ended in reverse order. */
const started = [];
let failures = [];
let broken;
try {
  failures = await demo();
} catch (error) {
  if (!stopping.signal.aborted) broken = error;
} finally {
  for (const thing of started.reverse()) await thing[Symbol.asyncDispose]();
}
if (broken) {
  console.error(`demo: ${broken.message}`);
  if (broken.cause) console.error(`      ${broken.cause.message ?? broken.cause}`);
}
for (const { at, reason } of failures.slice(0, 10)) {
  console.error(`failed ${at.toISOString()} ${reason}`);
}
process.exit(broken || failures.length > 0 ? 1 : 0);

async function demo() {
  await envoyBinary('1.40');
  stopping.signal.throwIfAborted();

  const dir = await demoFolder();
  // All that the Envoys write goes there, and away with it: CA keys are in it, so at any exit.
  process.env.TMPDIR = dir;
  process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
  started.push({ [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) });
  say(`credence: starting on ${join(dir, 'api.sock')}`);
  const daemon = await createDaemon({
    dir,
    svidTtl: SVID_TTL,
    entries: [SERVER, CLIENT].map(entryForMe),
  });
  started.push(daemon);
  await daemon.start();
  stopping.signal.throwIfAborted();

  const place = await findPlace(daemon.socketPath, { preferFixed: true });
  for (const [name, fixed] of Object.entries(FIXED_PORTS)) {
    if (!/^(server|client)/.test(name) || place.port(name) === fixed) continue;
    say(`port ${fixed} of envoy-configs/ is taken, ${place.port(name)} is used in its place`);
  }
  say('envoy:    starting envoy-configs/server.yaml and envoy-configs/client.yaml');
  const pair = await startPair(place);
  started.push(pair);
  stopping.signal.throwIfAborted();
  say(`try it:   curl -i http://127.0.0.1:${pair.sharedPort}/\n`);

  const load = startWatchedLoad(pair);
  started.push(load);
  /** Serials that each Envoy has used, in order. */
  const used = { server: [], client: [] };
  const show = process.stdout.isTTY ? createScreen() : createLines();
  const endMs = performance.now() + seconds * 1000;
  while (!stopping.signal.aborted && performance.now() < endMs) {
    await load.look();
    const fault = daemon.died() ?? load.expired();
    if (fault !== undefined) throw new Error(fault);
    show(await snapshot(daemon, pair, load, used));
    await delay(DRAW_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
  }
  const { sent, answered, failures: failed } = await load.stop();
  const [servers, clients] = Object.values(used).map((serials) => Math.max(serials.length - 1, 0));
  say(
    `\n${sent} requests, ${answered} answered, ${failed.length} failed, ` +
      `${servers} + ${clients} rotations`,
  );
  return failed;
}

/** A folder below run/demo in the clone, or a temporary folder when its path is too long for a socket. */
async function demoFolder() {
  const own = fileURLToPath(new URL(`../run/demo/${process.pid}`, import.meta.url));
  const dir =
    Buffer.byteLength(own) <= MAX_DIR_BYTES ? own : join(tmpdir(), `credence-demo-${process.pid}`);
  await rm(dir, { recursive: true, force: true });
  await mkdir(dir, { recursive: true });
  return dir;
}

/** What Envoy says it uses, what the daemon plans, and what the requests came to. */
async function snapshot(daemon, pair, load, used) {
  const status = JSON.parse(await daemon.admin('/status'));
  const ends = [];
  for (const [label, uri, envoy] of [
    ['server', SERVER, pair.server],
    ['client', CLIENT, pair.client],
  ]) {
    const leaf = await envoy.leaf(uri);
    const serials = used[label];
    if (leaf && leaf.serial !== serials.at(-1)) serials.push(leaf.serial);
    const secret = (status.proxies ?? [])
      .filter(({ pid }) => pid === envoy.pid)
      .flatMap(({ streams }) => streams.flatMap(({ secrets }) => secrets))
      .find(({ name }) => name === uri);
    ends.push({
      label,
      serial: short(serials.at(-1)),
      before: short(serials.at(-2)),
      rotations: Math.max(serials.length - 1, 0),
      leftMs: leaf ? leaf.expiresMs - Date.now() : 0,
      nextMs: secret?.next_rotation ? Date.parse(secret.next_rotation) - Date.now() : undefined,
    });
  }
  return { ends, requests: load.count() };
}

/** Redraws a table in place. */
function createScreen() {
  let drawn = 0;
  return ({ ends, requests }) => {
    const rows = [
      ['', 'serial before', 'serial now', 'expires in', 'rotates in', 'rotations'],
      ...ends.map((end) => [
        end.label,
        end.before,
        end.serial,
        inSeconds(end.leftMs),
        inSeconds(end.nextMs),
        String(end.rotations),
      ]),
    ];
    const widths = [8, 16, 16, 12, 12, 10];
    const lines = [
      ...rows.map((row) => row.map((cell, n) => cell.padEnd(widths[n])).join('')),
      '',
      `requests ${requests.sent} sent, ${requests.answered} answered, ` +
        `${requests.failures.length} failed   (a third of them over mTLS connections of their own)`,
      'Ctrl-C ends the demo.',
    ];
    const up = drawn > 0 ? `\x1b[${drawn}A` : '';
    process.stdout.write(`${up}${lines.map((line) => `\x1b[2K${line}\n`).join('')}`);
    drawn = lines.length;
  };
}

/** Prints a line at each rotation, and one every few seconds. */
function createLines() {
  const shown = new Map();
  let nextMs = 0;
  return ({ ends, requests }) => {
    for (const { label, before, serial, rotations, leftMs } of ends) {
      if (shown.get(label) !== serial && before !== '-') {
        say(
          `${label} rotated: ${before} -> ${serial}, valid ${inSeconds(leftMs)}, rotation ${rotations}`,
        );
      }
      shown.set(label, serial);
    }
    if (performance.now() < nextMs) return;
    nextMs = performance.now() + LINE_MS;
    const plan = ends.map(({ label, nextMs: ms }) => `${label} rotates in ${inSeconds(ms)}`);
    say(
      `${requests.sent} requests sent, ${requests.answered} answered, ` +
        `${requests.failures.length} failed; ${plan.join(', ')}`,
    );
  };
}

function short(serial) {
  return serial === undefined ? '-' : serial.slice(0, 12);
}

function inSeconds(ms) {
  return ms === undefined ? '-' : `${(Math.max(ms, 0) / 1000).toFixed(1)} s`;
}

function say(text) {
  console.log(text);
}
