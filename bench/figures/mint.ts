import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Bench, Part } from '../bench.ts';
import type { Figure } from '../report.ts';

const PROGRAM = fileURLToPath(new URL('../mint.ts', import.meta.url));
const LINE = /^(.+?)\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)$/;

/** What `mint.ts` prints for its cases, by the first word of each. */
const CASES = { raw: 'key', mint: 'mint,', delivered: 'delivered:', record: 'record:' };

/** One mint, against the OpenSSL calls that no issuer can do without; in a process of its own. */
export function mint(bench: Bench): Part {
  return {
    name: 'mint',
    async run() {
      const rounds = bench.options.quick ? '12' : '31';
      const args = ['--import', import.meta.resolve('tsx'), PROGRAM, '--rounds', rounds];
      const { stdout } = await promisify(execFile)(process.execPath, args);
      const raw = readCase(stdout, CASES.raw);
      const whole = readCase(stdout, CASES.mint);
      const ratio = (whole[0] ?? NaN) / (raw[0] ?? NaN);
      const figures: Figure[] = [
        {
          name: 'mint one P-256 SVID, CPU',
          unit: 'µs',
          runs: whole,
          bound: { goal: 100, stretch: 45 },
        },
        {
          name: 'mint and the last look before it leaves, CPU',
          unit: 'µs',
          runs: readCase(stdout, CASES.delivered),
        },
        {
          name: 'an audit record of it in a file, CPU',
          unit: 'µs',
          runs: readCase(stdout, CASES.record),
          bound: { goal: 15, stretch: 10 },
        },
        { name: 'raw OpenSSL key pair and signature', unit: 'µs', runs: raw },
        { name: 'mint to raw', unit: 'x', runs: [ratio], bound: { goal: 1.5, stretch: 1.3 } },
      ];
      return figures;
    },
  };
}

/** p50, p10 and p90 of a case. */
function readCase(output: string, firstWord: string): number[] {
  for (const line of output.split('\n')) {
    const [, name, ...values] = LINE.exec(line) ?? [];
    if (name?.split(' ')[0] === firstWord) return values.map(Number);
  }
  throw new Error(`mint.ts printed no line that begins with "${firstWord}":\n${output}`);
}
