import { closeSync, openSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { Registry } from 'prom-client';
import type { Attestation } from './attestation/attestation.ts';
import { listenForPeers, type PeerListener } from './attestation/listener.ts';
import { parseSpiffeId } from './identity/spiffe-id.ts';
import { errorText } from './core/errors.ts';
import { silentLogger } from './core/log.ts';
import { createServing, type Serving, type ServingParts } from './serving.ts';

/** Enough for the engine to have compiled what a connection goes through. */
const ROUNDS = 12;
const ROUND_TIMEOUT_MS = 1000;
const NODE_BYTES = 30_000;

/** open(2) of the file itself, not of what it stands for; on x86-64 and arm64. */
const O_PATH = 0o10000000;

/**
 * Serves a made-up client over a private socket, again and again, with the same parts as the daemon
 * but metrics, policy and keys of its own. Real callers come in between. What fails here is worth a
 * word to who looks for it: the daemon only stays as it was.
 */
export async function warmUp(
  parts: ServingParts,
  attest: () => Attestation,
  signal: AbortSignal,
): Promise<void> {
  const serving = rehearsed(parts);
  let attestation = attest();
  let connections = 0;
  // Each attestation counts from one: the connections of all rounds need names of their own.
  const accept: Attestation['accept'] = (socket) => ({
    ...attestation.accept(socket),
    id: `warm-up-${++connections}`,
  });
  const door = await openDoor(parts, serving, accept);
  try {
    const opening = clientBytes(parts.config.sds.aliases);
    for (let round = 0; door && round < ROUNDS && !signal.aborted; round++) {
      await visit(door.path, opening, serving, parts);
      // Anew each time: a process that is known already is not attested and keeps its SVID.
      attestation.close();
      attestation = attest();
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    door?.close();
    attestation.close();
    await serving.close();
  }
}

interface Door {
  /** Leads to the socket from within this process alone. */
  readonly path: string;
  close(): void;
}

/**
 * A socket in the folder of the admin socket, without a name from the moment it is there: whenever the
 * daemon is killed, nothing of it stays. Undefined where there can be none.
 */
async function openDoor(
  { config, clock, log }: ServingParts,
  serving: Serving,
  accept: Attestation['accept'],
): Promise<Door | undefined> {
  const path = `${config.adminSocketPath}~`;
  let listener: PeerListener | undefined;
  try {
    listener = await listenForPeers({
      paths: [path],
      mode: 0o600,
      attestation: { accept },
      onConnection: (socket, connection) => serving.serve(socket, connection),
      ...{ clock, log: silentLogger },
    });
    const file = openSync(path, O_PATH);
    unlinkSync(path);
    const bound = listener;
    return {
      path: `/proc/self/fd/${file}`,
      close() {
        bound.close();
        closeSync(file);
      },
    };
  } catch (thrown) {
    listener?.close();
    log.debug({ path, reason: errorText(thrown) }, 'no warm-up: its socket cannot be made');
    return undefined;
  }
}

/** The daemon's parts with an entry for this very process, and figures that nobody reads. */
function rehearsed(parts: ServingParts): Serving {
  const identity = {
    id: parseSpiffeId(`spiffe://${parts.config.trustDomain}/warm-up`),
    x509SvidTtlMs: undefined,
    jwtSvidTtlMs: undefined,
    dnsNames: [],
    federatesWith: [],
    hint: '',
    priority: 0,
    source: '',
  };
  return createServing({
    ...parts,
    entitlements: { match: () => [identity], onChange: () => () => undefined },
    bundle: { ...parts.bundle, onChange: () => () => undefined },
    registry: new Registry(),
    log: silentLogger,
    // What is signed with a key that nobody knows is no signature.
    auditing: undefined,
  });
}

/** One client that asks for a certificate and a bundle and leaves when it has both. */
function visit(
  path: string,
  opening: Buffer,
  serving: Serving,
  { clock }: ServingParts,
): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = () => {
      timer.cancel();
      socket.destroy();
      resolve();
    };
    const timer = clock.after(ROUND_TIMEOUT_MS, end);
    socket.on('error', end);
    socket.on('data', () => {
      const sent = serving.streams().flatMap(({ resources }) => resources);
      if (sent.filter((resource) => resource.sent !== undefined).length === 2) end();
    });
    socket.write(opening);
  });
}

/** RFC 9113: preface, SETTINGS, then a request on each of two streams. */
function clientBytes(aliases: { readonly svid: string; readonly bundle: string }): Buffer {
  return Buffer.concat([
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    frame(4, 0, 0, Buffer.alloc(0)),
    ...[aliases.svid, aliases.bundle].flatMap((name, n) => request(2 * n + 1, name)),
  ]);
}

function request(stream: number, name: string): Buffer[] {
  const message = Buffer.concat([
    // DiscoveryRequest: node with an extension as large as Envoy's list of them, one resource name.
    field(2, field(9, field(1, Buffer.alloc(NODE_BYTES, 'x')))),
    field(3, Buffer.from(name)),
  ]);
  const grpc = Buffer.concat([Buffer.alloc(5), message]);
  grpc.writeUInt32BE(message.length, 1);
  const frames = [frame(1, 4, stream, HEADERS)];
  for (let at = 0; at < grpc.length; at += 16_384) {
    frames.push(frame(0, 0, stream, grpc.subarray(at, at + 16_384)));
  }
  return frames;
}

/** RFC 7541 6.2.2: literal fields, not indexed, with their names written out. */
const HEADERS = Buffer.concat(
  Object.entries({
    ':method': 'POST',
    ':scheme': 'http',
    ':path': '/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets',
    ':authority': 'warm-up',
    te: 'trailers',
    'content-type': 'application/grpc',
  }).flatMap(([name, value]) => [
    Buffer.of(0, name.length),
    Buffer.from(name),
    Buffer.of(value.length),
    Buffer.from(value),
  ]),
);

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A length-delimited Protobuf field. */
function field(number: number, value: Buffer): Buffer {
  const length: number[] = [];
  for (let rest = value.length; ; rest >>>= 7) {
    length.push(rest > 127 ? (rest & 127) | 128 : rest);
    if (rest <= 127) break;
  }
  return Buffer.concat([Buffer.of((number << 3) | 2, ...length), value]);
}
