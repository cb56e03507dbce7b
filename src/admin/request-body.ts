import type { IncomingMessage } from 'node:http';
import { IdentityError } from '../core/errors.ts';

/** The text of a request; `ERR_BAD_REQUEST` when it has more than `maxBytes`, and no more is read. */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > maxBytes) {
      throw new IdentityError('ERR_BAD_REQUEST', `more than ${maxBytes} bytes are not taken`);
    }
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}
