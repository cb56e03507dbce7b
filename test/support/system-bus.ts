import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A method call as it came in. */
export interface ReceivedCall {
  readonly member: string;
  readonly path: string;
  readonly args: readonly (string | number)[];
}

/** What is answered: a value with its type, or an error by its name. */
export type BusAnswer =
  | { readonly type: 's' | 'o' | 'v' | 'u'; readonly value: string | number }
  | { readonly error: string };

/** Undefined: no answer at all. */
export type BusBehaviour = (call: ReceivedCall, socket: Socket) => BusAnswer | undefined;

/** A server that speaks D-Bus like the system bus with systemd on it, or as badly as a test wants. */
export interface FakeBus extends AsyncDisposable {
  readonly path: string;
  readonly calls: readonly ReceivedCall[];
  readonly connections: number;
  behave(next: BusBehaviour): void;
  /** What it says to who wants in; undefined: nothing. */
  greet(line: string | undefined): void;
  /** Ends all connections. */
  hangUp(): void;
}

export async function startBus(): Promise<FakeBus> {
  const folder = mkdtempSync(join(tmpdir(), 'credence-bus-'));
  const path = join(folder, 'bus.sock');
  const calls: ReceivedCall[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  let greeting: string | undefined = `OK ${'ab'.repeat(16)}\r\n`;
  let behave: BusBehaviour = () => ({ error: 'org.freedesktop.systemd1.NoUnitForPID' });
  const server = createServer((socket) => {
    connections++;
    sockets.add(socket);
    socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
    let entered = false;
    let bytes = Buffer.alloc(0);
    socket.on('data', (portion: Buffer) => {
      bytes = Buffer.concat([bytes, portion]);
      if (!entered) {
        const begin = bytes.indexOf('BEGIN\r\n');
        if (begin < 0) {
          if (/^\0AUTH EXTERNAL [0-9a-f]+\r\n$/.test(bytes.toString('latin1')) && greeting) {
            socket.write(greeting);
          }
          return;
        }
        entered = true;
        bytes = bytes.subarray(begin + 7);
      }
      for (let size = callBytes(bytes); size <= bytes.length; size = callBytes(bytes)) {
        const { serial, ...call } = readCall(bytes.subarray(0, size));
        bytes = bytes.subarray(size);
        const hello = call.member === 'Hello';
        if (!hello) calls.push(call);
        const answer = hello ? ({ type: 's', value: ':1.1' } as const) : behave(call, socket);
        if (answer) socket.write(writeAnswer(serial, answer));
      }
    });
  });
  server.listen(path);
  await once(server, 'listening');
  const hangUp = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    ...{ path, calls, hangUp },
    get connections() {
      return connections;
    },
    behave: (next) => void (behave = next),
    greet: (line) => void (greeting = line),
    async [Symbol.asyncDispose]() {
      hangUp();
      server.close();
      await once(server, 'close');
      rmSync(folder, { recursive: true });
    },
  };
}

/** Knows units by the pids in them. */
export function systemd(units: ReadonlyMap<number, { id: string; file: string }>): BusBehaviour {
  return ({ member, path, args: [first, second] }) => {
    if (member === 'GetUnitByPID') {
      return units.has(Number(first))
        ? { type: 'o', value: `/org/freedesktop/systemd1/unit/_${first ?? ''}` }
        : { error: 'org.freedesktop.systemd1.NoUnitForPID' };
    }
    const unit = units.get(Number(path.split('/_').at(-1)));
    if (!unit || member !== 'Get' || first !== 'org.freedesktop.systemd1.Unit') {
      return { error: 'org.freedesktop.DBus.Error.UnknownObject' };
    }
    return { type: 'v', value: second === 'Id' ? unit.id : unit.file };
  };
}

const padded = (bytes: number, to: number) => Math.ceil(bytes / to) * to;

function callBytes(bytes: Buffer): number {
  if (bytes.length < 16) return Infinity;
  return 16 + padded(bytes.readUInt32LE(12), 8) + bytes.readUInt32LE(4);
}

function readCall(bytes: Buffer): ReceivedCall & { serial: number } {
  let at = 16;
  const text = (lengthBytes: 1 | 4) => {
    if (lengthBytes === 4) at = padded(at, 4);
    const length = lengthBytes === 4 ? bytes.readUInt32LE(at) : bytes.readUInt8(at);
    const from = at + lengthBytes;
    at = from + length + 1;
    return bytes.toString('utf8', from, from + length);
  };
  const fields = new Map<number, string>();
  const end = 16 + bytes.readUInt32LE(12);
  while (at < end) {
    at = padded(at, 8);
    const code = bytes.readUInt8(at++);
    fields.set(code, text(text(1) === 'g' ? 1 : 4));
  }
  at = padded(at, 8);
  const args = Array.from(fields.get(8) ?? '', (type) => {
    if (type === 's') return text(4);
    at = padded(at, 4) + 4;
    return bytes.readUInt32LE(at - 4);
  });
  const serial = bytes.readUInt32LE(8);
  return { serial, member: fields.get(3) ?? '', path: fields.get(1) ?? '', args };
}

const uint32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const string = (value: string) =>
  Buffer.concat([uint32(Buffer.byteLength(value)), Buffer.from(`${value}\0`)]);
const signature = (value: string) => Buffer.from(`${String.fromCharCode(value.length)}${value}\0`);
const pad = (bytes: Buffer, to: number) =>
  Buffer.concat([bytes, Buffer.alloc(padded(bytes.length, to) - bytes.length)]);

function writeAnswer(replyTo: number, answer: BusAnswer): Buffer {
  const isError = 'error' in answer;
  const { type, value } = isError ? { type: 's', value: 'no' } : answer;
  const plain = typeof value === 'number' ? uint32(value) : string(value);
  const body = type === 'v' ? Buffer.concat([pad(signature('s'), 4), plain]) : plain;
  let fields = Buffer.alloc(0);
  const field = (code: number, kind: string, bytes: Buffer) => {
    const head = Buffer.concat([Buffer.from([code]), signature(kind)]);
    fields = Buffer.concat([pad(fields, 8), head, bytes]);
  };
  field(5, 'u', uint32(replyTo));
  if (isError) field(4, 's', string(answer.error));
  field(8, 'g', signature(type));
  const head = Buffer.from([0x6c, isError ? 3 : 2, 1, 1]);
  return Buffer.concat([
    ...[head, uint32(body.length), uint32(1), uint32(fields.length)],
    ...[pad(fields, 8), body],
  ]);
}
