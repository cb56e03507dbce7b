import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { formatDuration, parseDuration } from './duration.ts';

const SIZES = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const unit = fc.constantFrom('ms', 's', 'm', 'h', 'd');

describe('parseDuration()', () => {
  for (const [text, ms] of [
    ['250ms', 250],
    ['30s', 30_000],
    ['10m', 600_000],
    ['1h', 3_600_000],
    ['7d', 604_800_000],
    ['0s', 0],
    ['007s', 7000],
    ['104249991d', 9_007_199_222_400_000],
  ] as const) {
    it(`reads ${text}`, () => assert.equal(parseDuration(text), ms));
  }

  for (const text of [
    '',
    '5',
    's',
    '5 s',
    ' 5s',
    '5s\n',
    '5S',
    '5M',
    '-5s',
    '+5s',
    '1.5h',
    '1e3s',
    '1h30m',
    '0x5s',
    '5sec',
    '5w',
    '٥s',
    '5constructor',
    '1234567890123s',
    '104249992d',
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.equal(parseDuration(text), undefined));
  }

  it('reads a whole number of any unit, up to what a number holds exactly', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 999_999_999_999 }), unit, (count, name) => {
        const ms = count * SIZES[name];
        assert.equal(parseDuration(`${count}${name}`), Number.isSafeInteger(ms) ? ms : undefined);
      }),
    );
  });

  it('gives whole milliseconds or undefined for any text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^\d*[a-z]*$/)), (text) => {
        const ms = parseDuration(text);
        assert.ok(ms === undefined || (Number.isSafeInteger(ms) && ms >= 0));
      }),
    );
  });
});

describe('formatDuration()', () => {
  for (const [ms, text] of [
    [0, '0ms'],
    [0.4, '0ms'],
    [850, '850ms'],
    [999.4, '999ms'],
    [999.6, '1s'],
    [1000, '1s'],
    [59_499, '59s'],
    [59_500, '1m'],
    [5_400_000, '1h 30m'],
    [86_400_000, '1d'],
    [90_061_000, '1d 1h'],
    [86_460_000, '1d 1m'],
    [-1500, '-2s'],
    [-0.2, '0ms'],
  ] as const) {
    it(`writes ${ms} as ${text}`, () => assert.equal(formatDuration(ms), text));
  }

  it('writes at most two parts, and leaves out less than the last of them', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e14 }), (ms) => {
        const parts = formatDuration(ms).split(' ');
        assert.ok(parts.length <= 2);
        const shown = parts.reduce((sum, part) => sum + (parseDuration(part) ?? NaN), 0);
        const rounded = ms < 1000 ? ms : Math.round(ms / 1000) * 1000;
        const last = /[a-z]+$/.exec(parts.at(-1) ?? '')?.[0] as keyof typeof SIZES;
        assert.ok(rounded - shown >= 0 && rounded - shown < SIZES[last], `${ms}: ${parts.join()}`);
      }),
    );
  });

  it('is read back when it has one part', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 23 }), unit, (count, name) => {
        assert.equal(formatDuration(count * SIZES[name]), `${count}${name}`);
      }),
    );
  });
});
