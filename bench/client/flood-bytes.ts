import { FLAG, FRAME, frame } from './frames.ts';
import { plainText, requestHeaders } from './hpack.ts';
import { DIALECTS } from './messages.ts';

const { method } = DIALECTS['state of the world'];
const HEADERS = requestHeaders(method, 'sds');
/** RFC 7541 section 6.2.1: a literal that enters the dynamic table. */
const LITERAL_INDEXED = 0x40;
/** RFC 7541 section 6.1: a header that a table has. */
const INDEXED = 0x80;
/** The newest entry of the dynamic table, after the 61 static ones. */
const NEWEST = 62;
const CANCEL = Buffer.from([0, 0, 0, 8]);

/** Headers of a connection's first call; they fill the server's header table. */
const firstBlock = Buffer.concat(
  HEADERS.flatMap(([name, value]) => [
    Buffer.from([LITERAL_INDEXED]),
    plainText(name),
    plainText(value),
  ]),
);
/** The same headers once more, a byte each. */
const nextBlock = Buffer.from(HEADERS.map((_, at) => INDEXED | (NEWEST + HEADERS.length - 1 - at)));

/** HEADERS of one call, as small as they can be made. */
function call(id: number): Buffer {
  return frame(FRAME.headers, FLAG.endHeaders, id, id === 1 ? firstBlock : nextBlock);
}

/** `count` calls from stream `firstId` on, without a request. */
export function bareCalls(firstId: number, count: number): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, n) => call(firstId + 2 * n)));
}

/** The same, each taken back at once. */
export function cancelledCalls(firstId: number, count: number): Buffer {
  return Buffer.concat(
    Array.from({ length: count }, (_, n) => {
      const id = firstId + 2 * n;
      return Buffer.concat([call(id), frame(FRAME.rstStream, 0, id, CANCEL)]);
    }),
  );
}

/** The same, each with `request`. */
export function wholeCalls(firstId: number, count: number, request: Buffer): Buffer {
  return Buffer.concat(
    Array.from({ length: count }, (_, n) => {
      const id = firstId + 2 * n;
      return Buffer.concat([call(id), frame(FRAME.data, 0, id, request)]);
    }),
  );
}
