import { spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Clock, Timer } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import {
  lineReader,
  MAX_REPLY_BYTES,
  parseReply,
  type TokenReply,
  type TokenRequest,
  type TokenValue,
} from './protocol.ts';

/** The other end of a process: lines to it, chunks from it. */
export interface Pipe {
  send(line: string): void;
  /** When the module has done what it is at. */
  end(): void;
  /** At once, whatever the module is doing. */
  kill(): void;
}

/** Starts a process; `onEnd` is called once, also after `kill`. */
export type StartProcess = (told: {
  onChunk: (chunk: Buffer) => void;
  onEnd: (why: string) => void;
}) => Pipe;

/**
 * A module is somebody else's machine code: in a process of its own it may hang, crash or spoil its memory,
 * and the daemon goes on.
 */
export const startTokenProcess: StartProcess = ({ onChunk, onEnd }) => {
  let ended = false;
  const end = (why: string) => {
    if (ended) return;
    ended = true;
    onEnd(why);
  };
  const child = spawn(process.execPath, programOf(), {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    windowsHide: true,
  });
  const pipe = child.stdio[3] as Duplex;
  pipe.on('data', onChunk);
  pipe.on('error', () => undefined);
  child.on('error', ({ message }) => end(`cannot be started: ${message}`));
  child.on('exit', (code, signal) => end(`ended with ${signal ?? `code ${code ?? 'unknown'}`}`));
  return {
    send: (line) => void pipe.write(line),
    end: () => void pipe.end(),
    kill: () => {
      pipe.destroy();
      child.kill('SIGKILL');
    },
  };
};

/** scripts/build.mjs puts the process's file beside the bundle. */
function programOf(): readonly string[] {
  if (!import.meta.url.endsWith('.ts')) {
    return [fileURLToPath(new URL('./pkcs11-token.cjs', import.meta.url))];
  }
  const entry = fileURLToPath(new URL('./token-main.ts', import.meta.url));
  return ['--import', import.meta.resolve('tsx'), entry];
}

/** Why a call was not answered by the token. */
export class TokenFault extends IdentityError {
  /** Whether the process should not be asked again. */
  readonly lost: boolean;

  constructor(message: string, { lost, hint }: { lost: boolean; hint?: string }) {
    super('ERR_KEY_STORE', message, hint === undefined ? {} : { hint });
    this.lost = lost;
  }
}

/** For giving its session back to the token. */
const PARTING_MS = 2000;

/** Questions sent ahead of their turn: the token need not wait for the next, and answers come in few. */
const AHEAD = 16;

interface Waiting {
  readonly n: number;
  readonly line: string;
  readonly withinMs: number;
  readonly settle: (reply: TokenReply) => void;
}

/** Asks one process. It answers in the order of the questions, but for keys, which it makes meanwhile. */
export class TokenProcess {
  readonly #pipe: Pipe;
  readonly #clock: Clock;
  /** In order; the first `#sent` of them are with the process. */
  readonly #waiting: Waiting[] = [];
  #sent = 0;
  #deadline: Timer | undefined;
  readonly #making = new Map<number, { asked: Waiting; deadline: Timer }>();
  #next = 0;
  #ended: string | undefined;

  constructor(start: StartProcess, clock: Clock) {
    this.#clock = clock;
    const take = lineReader(MAX_REPLY_BYTES, (line) => this.#answered(line));
    this.#pipe = start({
      onChunk: (chunk) => {
        if (!take(chunk)) this.#stop('said more than was asked');
      },
      onEnd: (why) => this.#stop(why),
    });
  }

  get alive(): boolean {
    return this.#ended === undefined;
  }

  /** `withinMs` counts from the answer before. Throws `TokenFault`. */
  ask(request: TokenRequest, withinMs: number): Promise<TokenValue> {
    return new Promise((resolve, reject) => {
      const settle = (reply: TokenReply) => {
        if ('value' in reply) return resolve(reply.value);
        reject(new TokenFault(reply.error, reply));
      };
      if (this.#ended !== undefined) return settle(gone(this.#ended));
      const n = this.#next++;
      const asked = { n, line: `${JSON.stringify({ n, ...request })}\n`, withinMs, settle };
      if (request.call === 'generate') return this.#make(asked);
      this.#waiting.push(asked);
      if (this.#waiting.length === 1) this.#watch();
      this.#send();
    });
  }

  /** Lets it end; what it was asked fails. */
  close(): void {
    if (this.#ended !== undefined) return;
    this.#fail('was closed');
    this.#pipe.end();
    this.#clock.after(PARTING_MS, () => this.#pipe.kill());
  }

  #make(asked: Waiting): void {
    const deadline = this.#clock.after(asked.withinMs, () => {
      this.#making.delete(asked.n);
      this.#late(asked);
    });
    this.#making.set(asked.n, { asked, deadline });
    this.#pipe.send(asked.line);
  }

  #send(): void {
    for (; this.#sent < AHEAD; this.#sent++) {
      const next = this.#waiting[this.#sent];
      if (!next) return;
      this.#pipe.send(next.line);
    }
  }

  #answered(line: string): void {
    if (this.#ended !== undefined) return;
    const reply = parseReply(line);
    const made = reply && this.#making.get(reply.n);
    if (made) {
      this.#making.delete(reply.n);
      made.deadline.cancel();
      return made.asked.settle(reply);
    }
    const [first] = this.#waiting;
    if (!reply || first?.n !== reply.n) return this.#stop('said what was not asked');
    this.#waiting.shift();
    this.#sent--;
    this.#watch();
    this.#send();
    first.settle(reply);
  }

  /** The deadline of the call that the module is at. */
  #watch(): void {
    this.#deadline?.cancel();
    const [first] = this.#waiting;
    this.#deadline =
      first &&
      this.#clock.after(first.withinMs, () => {
        this.#waiting.shift();
        this.#late(first);
      });
  }

  /** Whoever waited behind it has lost nothing but time, and may ask another process. */
  #late({ withinMs, settle }: Waiting): void {
    this.#stop('was stopped, a call took too long');
    settle({ ...gone(`did not answer for ${withinMs / 1000} s`), lost: false });
  }

  #stop(why: string): void {
    if (this.#ended !== undefined) return;
    this.#fail(why);
    this.#pipe.kill();
  }

  #fail(why: string): void {
    this.#ended = why;
    this.#deadline?.cancel();
    const left = this.#waiting.splice(0);
    for (const { asked, deadline } of this.#making.values()) {
      deadline.cancel();
      left.push(asked);
    }
    this.#making.clear();
    for (const { settle } of left) settle(gone(why));
  }
}

const gone = (why: string) => ({
  error: `the process of the PKCS#11 module ${why}`,
  lost: true,
});
