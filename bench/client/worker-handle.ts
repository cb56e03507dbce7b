import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { WorkerAnswers, WorkerRequest } from './worker.ts';

/** A client process as the bench sees it. */
export interface Worker extends AsyncDisposable {
  /** Rejects with what went wrong over there. */
  ask<K extends WorkerRequest['kind']>(
    request: Extract<WorkerRequest, { kind: K }>,
  ): Promise<WorkerAnswers[K]>;
}

interface Reply {
  readonly id: number;
  readonly answer?: unknown;
  readonly error?: string;
}

/** Starts a client process. */
export function startWorker(): Worker {
  const child = fork(fileURLToPath(new URL('worker.ts', import.meta.url)), {
    execArgv: ['--import', import.meta.resolve('tsx')],
  });
  const waiting = new Map<number, (reply: Reply) => void>();
  let next = 0;
  const fail = (error: string): void => {
    for (const [id, settle] of waiting) settle({ id, error });
    waiting.clear();
  };
  child.on('message', (reply: Reply) => {
    waiting.get(reply.id)?.(reply);
    waiting.delete(reply.id);
  });
  child.on('error', (error) => fail(error.message));
  const exited = new Promise<void>((resolve) => {
    child.on('exit', (code) => {
      fail(`a client process ended, code ${code ?? 'none'}`);
      resolve();
    });
  });
  return {
    ask: (request) =>
      new Promise((resolve, reject) => {
        const id = next++;
        waiting.set(id, ({ answer, error }) => {
          if (error !== undefined) reject(new Error(error));
          // The worker's own table of answers says that this is the type.
          else resolve(answer as WorkerAnswers[typeof request.kind]);
        });
        child.send({ id, request });
      }),
    async [Symbol.asyncDispose]() {
      child.disconnect();
      await exited;
    },
  };
}
