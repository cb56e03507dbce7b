import { Agent, request, type IncomingHttpHeaders } from 'node:http';

/** How requests reach the listener. */
export interface LoadOptions {
  readonly port: number;
  /** Requests per second, sent on schedule whether or not earlier ones have been answered. */
  readonly ratePerSecond: number;
  /** `keep-alive` reuses connections, `new` opens one for each request. */
  readonly connections: 'keep-alive' | 'new';
  /** Milliseconds after which a request has failed; 5 s unless told. */
  readonly timeoutMs?: number;
  /** Sees the headers of each good answer. */
  readonly onAnswer?: (headers: IncomingHttpHeaders) => void;
}

/** A request that got no 200: when, and why. */
export interface Failure {
  readonly at: Date;
  readonly reason: string;
}

export interface LoadCount {
  readonly sent: number;
  readonly answered: number;
  readonly failures: readonly Failure[];
}

/** Requests at a constant rate, each accounted for. */
export interface Load extends AsyncDisposable {
  count(): LoadCount;
  /** Sends no more, waits for what is on its way, and counts: sent = answered + failures. */
  stop(): Promise<LoadCount>;
}

const TICK_MS = 5;

/** Starts sending GET / to a loopback port. */
export function startLoad(options: LoadOptions): Load {
  const { port, ratePerSecond, connections, timeoutMs = 5_000, onAnswer } = options;
  const agent = new Agent({ keepAlive: connections === 'keep-alive' });
  const pending = new Set<Promise<void>>();
  const failures: Failure[] = [];
  let sent = 0;
  let answered = 0;

  function once(): Promise<void> {
    return new Promise((resolve) => {
      let settled = false;
      const settle = (reason?: string) => {
        if (settled) return;
        settled = true;
        clearTimeout(timer);
        if (reason === undefined) answered++;
        else failures.push({ at: new Date(), reason });
        resolve();
      };
      const req = request({ host: '127.0.0.1', port, path: '/', agent }, (res) => {
        let body = '';
        res.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
        res.once('error', (error) => settle(error.message));
        res.once('end', () => {
          if (res.statusCode !== 200) return settle(`${res.statusCode}: ${body.slice(0, 200)}`);
          settle();
          onAnswer?.(res.headers);
        });
        res.once('close', () => settle('the answer broke off'));
      });
      const timer = setTimeout(() => {
        settle(`no answer within ${timeoutMs} ms`);
        req.destroy();
      }, timeoutMs);
      req.once('error', (error) => settle(error.message));
      req.end();
    });
  }

  const started = performance.now();
  const ticker = setInterval(() => {
    const due = Math.floor(((performance.now() - started) / 1000) * ratePerSecond);
    for (; sent < due; sent++) {
      const one = once();
      pending.add(one);
      void one.then(() => pending.delete(one));
    }
  }, TICK_MS);

  const count = () => ({ sent, answered, failures: [...failures] });
  async function stop(): Promise<LoadCount> {
    clearInterval(ticker);
    await Promise.all(pending);
    agent.destroy();
    return count();
  }
  return {
    count,
    stop,
    [Symbol.asyncDispose]: () => stop().then(() => undefined),
  };
}
