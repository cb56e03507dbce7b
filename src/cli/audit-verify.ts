import { open } from 'node:fs/promises';
import { Verifier, type Verdict, type VerifyOptions } from '../audit/verify.ts';
import { errorText, IdentityError } from '../core/errors.ts';
import { textOf, type Action, type Given, type Terminal } from './command.ts';
import { EXIT } from './exit.ts';
import { oneLine } from './printable.ts';
import { interrupted } from './unreachable.ts';

const PIECE_BYTES = 1 << 20;

/** `credence audit verify`: whether records are as they were written; exit 0 or 1. */
export const auditVerify: Action = async (given, files, terminal) => {
  const verifier = new Verifier(optionsOf(given));
  for (const file of files) {
    await read(file, verifier, terminal.signal);
    if (verifier.isBroken) break;
  }
  const verdict = verifier.verdict();
  if (given['json'] === true) terminal.out(`${JSON.stringify(toJson(verdict))}\n`);
  else tell(verdict, files, terminal);
  return isWhole(verdict) ? EXIT.done : EXIT.no;
};

const isWhole = ({ broken, records }: Verdict) => !broken && records > 0;

function optionsOf(given: Given): VerifyOptions {
  return {
    after: hashOf(given, 'after'),
    expect: hashOf(given, 'expect'),
    isLog: given['log'] === true,
  };
}

function hashOf(given: Given, name: string): string | undefined {
  const text = textOf(given, name)?.toLowerCase();
  if (text === undefined || /^[0-9a-f]{64}$/.test(text)) return text;
  throw new IdentityError('ERR_USAGE', `--${name} is "${text}", expected 64 hex digits`, {
    hint: 'credence audit verify FILE prints the hash of the last record',
  });
}

/** In pieces: these files grow without bound. */
async function read(file: string, verifier: Verifier, signal: AbortSignal): Promise<void> {
  try {
    await using handle = await open(file, 'r');
    verifier.begin(file);
    const piece = Buffer.allocUnsafe(PIECE_BYTES);
    for (;;) {
      const { bytesRead } = await handle.read(piece, 0, piece.length, null);
      if (signal.aborted) throw interrupted();
      if (bytesRead === 0 || verifier.isBroken) break;
      verifier.take(piece.subarray(0, bytesRead));
    }
    verifier.end();
  } catch (thrown) {
    if (thrown instanceof IdentityError) throw thrown;
    throw new IdentityError('ERR_USAGE', `cannot read ${file}: ${errorText(thrown)}`, {
      cause: thrown,
      hint: 'name the files of one chain, oldest first',
    });
  }
}

function tell({ broken, head, records, time }: Verdict, files: readonly string[], to: Terminal) {
  const last = `seq ${head.seq}, last hash ${head.hash}`;
  if (broken) {
    const { file, line, seq, reason } = broken;
    const record = seq === undefined ? '' : `seq ${seq}: `;
    to.out(`broken at ${oneLine(file)}:${line}: ${record}${oneLine(reason)}\n`);
    if (records > 0) to.out(`whole before that: ${last}, of ${time ?? 'an unknown time'}\n`);
  } else if (records === 0) {
    to.out(`there is no record in ${oneLine(files.join(', '))}\n`);
  } else {
    const count = records === 1 ? '1 record' : `${records} records`;
    to.out(`whole: ${count}, ${last}, of ${time ?? 'an unknown time'}\n`);
  }
}

function toJson(verdict: Verdict) {
  const { broken, head, records, time } = verdict;
  const last = { records, seq: head.seq, last_hash: head.hash, last_time: time ?? null };
  return { whole: isWhole(verdict), ...last, broken: broken ?? null };
}
