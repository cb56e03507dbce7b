import { connect, type Socket } from 'node:net';
import { abortReason } from '../core/clock.ts';
import { createFrames } from './frames.ts';
import { decodeMessage, encodeCall, type Message, type MethodCall } from './wire.ts';

/** A connection to a message bus, for questions that are answered one by one. */
export interface Bus {
  /**
   * The answer, which may be an error; nobody else's, since a bus lets through no answer that was not
   * asked for. Rejects with why the connection ended when it does so before.
   */
  call(call: MethodCall): Promise<Message>;
  readonly closed: boolean;
  /** Ends the connection, and with the reason all calls that wait. */
  close(reason: Error): void;
}

/** Answers to what is asked here are much shorter. */
const MOST_BYTES = 64 * 1024;
/** Of what is said before the first message. */
const MOST_GREETING_BYTES = 1024;

/**
 * Connects, says who it is and enters the bus. Rejects as the system does, or with the signal's
 * reason, which also ends the connection later.
 */
export async function openBus(path: string, { signal }: { signal: AbortSignal }): Promise<Bus> {
  if (signal.aborted) throw abortReason(signal);
  const socket = connect(path);
  const bus = new SocketBus(socket);
  const onAbort = () => bus.close(abortReason(signal));
  signal.addEventListener('abort', onAbort, { once: true });
  socket.once('close', () => signal.removeEventListener('abort', onAbort));
  await bus.enter();
  return bus;
}

interface Waiter {
  readonly resolve: (message: Message) => void;
  readonly reject: (reason: Error) => void;
}

class SocketBus implements Bus {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiter>();
  #serial = 0;
  #reason: Error | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('error', (error) => this.close(error));
    socket.on('close', () => this.close(new Error('the connection was closed')));
    // It stays open between questions, and keeps no process alive.
    socket.unref();
  }

  get closed(): boolean {
    return this.#reason !== undefined;
  }

  /** SASL's EXTERNAL: the kernel says who connects (D-Bus Specification, "Authentication"). */
  async enter(): Promise<void> {
    const uid = String(process.geteuid?.() ?? 0);
    this.#socket.write(`\0AUTH EXTERNAL ${Buffer.from(uid).toString('hex')}\r\n`);
    const answer = await this.#line();
    if (!answer.startsWith('OK ')) throw this.#end(new Error('it does not let credence in'));
    this.#socket.write('BEGIN\r\n');
    const frames = createFrames(MOST_BYTES, (bytes) => this.#take(decodeMessage(bytes)));
    this.#socket.on('data', (portion: Buffer) => {
      try {
        frames(portion);
      } catch (thrown) {
        this.close(thrown instanceof Error ? thrown : new Error(String(thrown)));
      }
    });
    const hello = await this.call({
      destination: 'org.freedesktop.DBus',
      path: '/org/freedesktop/DBus',
      interface: 'org.freedesktop.DBus',
      member: 'Hello',
      args: [],
    });
    if (hello.type !== 'return') throw this.#end(new Error('it does not greet back'));
  }

  call(call: MethodCall): Promise<Message> {
    return new Promise((resolve, reject) => {
      if (this.#reason) return reject(this.#reason);
      // 0 is no serial.
      this.#serial = (this.#serial % 0xffff_ffff) + 1;
      this.#waiting.set(this.#serial, { resolve, reject });
      this.#socket.write(encodeCall(call, this.#serial));
    });
  }

  close(reason: Error): void {
    this.#end(reason);
  }

  #end(reason: Error): Error {
    if (this.#reason) return this.#reason;
    this.#reason = reason;
    this.#socket.destroy();
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#waiting.clear();
    return reason;
  }

  #take(message: Message): void {
    if (message.type === 'other') return;
    const waiter = this.#waiting.get(message.replyTo);
    this.#waiting.delete(message.replyTo);
    waiter?.resolve(message);
  }

  /** The one line that comes before all messages. */
  #line(): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(0, { resolve: () => undefined, reject });
      let text = '';
      const onData = (portion: Buffer) => {
        text += portion.toString('latin1');
        const end = text.indexOf('\r\n');
        if (end < 0 && text.length <= MOST_GREETING_BYTES) return;
        this.#socket.off('data', onData);
        this.#waiting.delete(0);
        if (end >= 0 && end + 2 === text.length) resolve(text.slice(0, end));
        else reject(this.#end(new Error('it is no message bus')));
      };
      this.#socket.on('data', onData);
    });
  }
}
