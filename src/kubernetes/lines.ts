import type { Readable } from 'node:stream';
import type { Clock, Timer } from '../core/clock.ts';

/** An object is 1.5 MB in etcd at the most. */
const MAX_LINE_BYTES = 8 * 1024 * 1024;

/**
 * Calls `line` for each line of a stream, cut on bytes: a character may be split between two
 * portions. Resolves at its end; rejects when a line is too long, `line` throws, or nothing has come
 * for `silenceMs`: a connection that is half open says nothing for ever.
 */
export function eachLine(
  stream: Readable,
  line: (text: string) => void,
  { clock, silenceMs }: { readonly clock: Clock; readonly silenceMs: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let bytes = 0;
    let timer: Timer = silence();

    function silence(): Timer {
      const text = `nothing came for ${Math.round(silenceMs / 1000)} s`;
      return clock.after(silenceMs, () => stream.destroy(new Error(text)));
    }

    function take(portion: Buffer): void {
      timer.cancel();
      timer = silence();
      let from = 0;
      for (let at = portion.indexOf(10); at >= 0; at = portion.indexOf(10, from)) {
        parts.push(portion.subarray(from, at));
        const text = Buffer.concat(parts).toString('utf8');
        parts.length = bytes = 0;
        from = at + 1;
        if (text !== '') line(text);
      }
      bytes += portion.length - from;
      if (bytes > MAX_LINE_BYTES) throw new Error(`a line of more than ${MAX_LINE_BYTES} bytes`);
      if (from < portion.length) parts.push(portion.subarray(from));
    }

    stream.on('data', (portion: Buffer) => {
      try {
        take(portion);
      } catch (thrown) {
        stream.destroy(thrown instanceof Error ? thrown : new Error(String(thrown)));
      }
    });
    stream.once('error', (error) => {
      timer.cancel();
      reject(error);
    });
    stream.once('close', () => {
      timer.cancel();
      resolve();
    });
  });
}
