import { HEAD_BYTES, messageBytes } from './wire.ts';

/**
 * Cuts a stream into messages. Those of more than `most` bytes are passed over and take no memory:
 * everybody on a bus may send such. The returned function throws `ERR_ATTESTATION` where no message
 * begins.
 */
export function createFrames(
  most: number,
  onMessage: (bytes: Buffer) => void,
): (portion: Buffer) => void {
  let pending = Buffer.alloc(0);
  let skip = 0;

  return (portion) => {
    let rest = pending.length === 0 ? portion : Buffer.concat([pending, portion]);
    for (;;) {
      const passed = Math.min(skip, rest.length);
      skip -= passed;
      rest = rest.subarray(passed);
      if (skip > 0 || rest.length < HEAD_BYTES) break;
      const bytes = messageBytes(rest);
      if (bytes > most) {
        skip = bytes;
        continue;
      }
      if (rest.length < bytes) break;
      onMessage(rest.subarray(0, bytes));
      rest = rest.subarray(bytes);
    }
    pending = Buffer.from(rest);
  };
}
