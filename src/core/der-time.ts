import { IdentityError } from './errors.ts';
import { TAG, type DerReader } from './der.ts';

/** RFC 5280 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050. */
const FIRST_GENERALIZED_MS = Date.UTC(2050, 0, 1);
const FIRST_UTC_MS = Date.UTC(1950, 0, 1);
/** The last second that GeneralizedTime can say. */
export const LAST_TIME_MS = Date.UTC(9999, 11, 31, 23, 59, 59);

const ZERO = 0x30;
const Z = 0x5a;

/** Bytes of a time's element. */
export function timeBytes(ms: number): number {
  return ms < FIRST_GENERALIZED_MS ? 15 : 17;
}

/**
 * Writes a whole second as UTCTime or GeneralizedTime; returns the position behind it. Digits are
 * computed: a template writes two times, and by strings they would be a tenth of its work.
 */
export function writeTime(out: Buffer, at: number, ms: number): number {
  const date = new Date(ms);
  const year = date.getUTCFullYear();
  const short = ms < FIRST_GENERALIZED_MS;
  out[at] = short ? TAG.utcTime : TAG.generalizedTime;
  out[at + 1] = short ? 13 : 15;
  let next = at + 2;
  if (!short) next = writePair(out, next, Math.floor(year / 100));
  next = writePair(out, next, year % 100);
  next = writePair(out, next, date.getUTCMonth() + 1);
  next = writePair(out, next, date.getUTCDate());
  next = writePair(out, next, date.getUTCHours());
  next = writePair(out, next, date.getUTCMinutes());
  next = writePair(out, next, date.getUTCSeconds());
  out[next] = Z;
  return next + 1;
}

function writePair(out: Buffer, at: number, value: number): number {
  const tens = Math.floor(value / 10);
  out[at] = ZERO + tens;
  out[at + 1] = ZERO + value - tens * 10;
  return at + 2;
}

/** Reads a time in milliseconds; `ERR_BAD_REQUEST` for any form that RFC 5280 does not allow. */
export function readTime(reader: DerReader): number {
  const short = reader.tag === TAG.utcTime;
  const { bytes, start, end } = reader.enter(short ? TAG.utcTime : TAG.generalizedTime);
  if (end - start !== (short ? 13 : 15) || bytes[end - 1] !== Z) throw badTime();
  const at = end - 11;
  const pair = readPair(bytes, at - 2);
  const year = short ? pair + (pair < 50 ? 2000 : 1900) : readPair(bytes, start) * 100 + pair;
  const month = readPair(bytes, at) - 1;
  const day = readPair(bytes, at + 2);
  const hour = readPair(bytes, at + 4);
  const minute = readPair(bytes, at + 6);
  const second = readPair(bytes, at + 8);
  const ms = Date.UTC(year, month, day, hour, minute, second);
  // Date.UTC carries 31 June over into July, and takes the year 50 for 1950.
  const date = new Date(ms);
  const exact = date.getUTCMonth() === month && date.getUTCDate() === day;
  if (!exact || hour > 23 || minute > 59 || second > 59 || ms < FIRST_UTC_MS) throw badTime();
  if (short !== ms < FIRST_GENERALIZED_MS) throw badTime();
  return ms;
}

/** Two digits; NaN for anything else, which no comparison lets through. */
function readPair(bytes: Buffer, at: number): number {
  const tens = (bytes[at] ?? 0) - ZERO;
  const ones = (bytes[at + 1] ?? 0) - ZERO;
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : NaN;
}

function badTime(): IdentityError {
  return new IdentityError('ERR_BAD_REQUEST', 'malformed DER: a time that RFC 5280 does not allow');
}
