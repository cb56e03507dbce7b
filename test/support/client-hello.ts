/*
 * The first message of TLS by hand, for server names that no library would send (RFC 8446 4.1.2,
 * RFC 6066 3).
 */
import { createECDH, randomBytes } from 'node:crypto';
import { tcpConnect } from './tls-client.ts';

/** Numbers of TLS, in the order they are used below. */
const HANDSHAKE = 22;
const ALERT = 21;
const RECORD_HEADER_BYTES = 5;
const CLIENT_HELLO = 1;
const EXTENSION = { serverName: 0, groups: 10, signatures: 13, versions: 43, keyShare: 51 };
const P256 = u16(0x0017);
const ECDSA_P256_SHA256 = u16(0x0403);
const TLS_1_2 = u16(0x0303);
const TLS_1_3 = u16(0x0304);
const AES_128_GCM_SHA256 = u16(0x1301);

/** Longer than any server here waits. */
const PATIENCE_MS = 15_000;
/** The alerts that end a handshake (RFC 8446 6.2). */
const ALERTS: Readonly<Record<number, string>> = {
  40: 'handshake_failure',
  50: 'decode_error',
  112: 'unrecognized_name',
};

/** `goes on`, `closed without a word`, or the alert that ended the handshake. */
export type Reaction = string;

/** Sends a first message with this server name, whatever its bytes, and waits for what follows. */
export async function greet(port: number, serverName: Uint8Array): Promise<Reaction> {
  const socket = await tcpConnect(port);
  socket.write(clientHello(serverName));
  return new Promise((resolve, reject) => {
    socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error('no answer, and no end')));
    socket.once('error', reject);
    socket.once('close', () => resolve('closed without a word'));
    socket.once('data', (bytes: Buffer) => {
      resolve(reactionOf(bytes));
      socket.destroy();
    });
  });
}

/** What the first record of an answer says (RFC 8446 5.1). */
function reactionOf(bytes: Buffer): Reaction {
  const [type] = bytes;
  if (type === HANDSHAKE) return 'goes on';
  const description = bytes.at(RECORD_HEADER_BYTES + 1) ?? NaN;
  return type === ALERT ? (ALERTS[description] ?? `alert ${description}`) : `record ${type}`;
}

/** A hello that any server of TLS 1.3 with a P-256 certificate takes up. */
function clientHello(serverName: Uint8Array): Buffer {
  const extensions = [
    extension(EXTENSION.serverName, sized(Buffer.of(0), sized(serverName))),
    extension(EXTENSION.groups, sized(P256)),
    extension(EXTENSION.signatures, sized(ECDSA_P256_SHA256)),
    extension(EXTENSION.versions, Buffer.of(2), TLS_1_3),
    extension(EXTENSION.keyShare, sized(P256, sized(createECDH('prime256v1').generateKeys()))),
  ];
  const noSession = Buffer.of(0);
  const noCompression = Buffer.of(1, 0);
  const start = [TLS_1_2, randomBytes(32), noSession, sized(AES_128_GCM_SHA256), noCompression];
  const body = sized(...start, sized(...extensions));
  // A handshake message has a length of three bytes, and no length of its content besides.
  const message = Buffer.concat([Buffer.of(CLIENT_HELLO, 0), body]);
  return Buffer.concat([Buffer.of(HANDSHAKE, 3, 1), sized(message)]);
}

function extension(type: number, ...content: readonly Uint8Array[]): Buffer {
  return Buffer.concat([u16(type), sized(...content)]);
}

/** The parts together behind their length in two bytes. */
function sized(...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([u16(content.length), content]);
}

function u16(value: number): Buffer {
  return Buffer.of(value >> 8, value & 0xff);
}
