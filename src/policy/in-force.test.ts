import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { IdentityError } from '../core/errors.ts';
import { createLogger } from '../core/log.ts';
import type { PolicyWarning } from './entry.ts';
import { putInForce } from './in-force.ts';
import { compilePolicy } from './policy.ts';

interface Line {
  readonly level: string;
  readonly msg: string;
  readonly path?: string;
  readonly detail?: string;
}

function start(warnings: readonly PolicyWarning[] = []) {
  const lines: Line[] = [];
  const log = createLogger({
    level: 'info',
    write: (line) => void lines.push(JSON.parse(line) as Line),
  });
  const loaded = { policy: compilePolicy([]), warnings };
  return { inForce: putInForce(loaded, new FakeClock(), log), lines, loaded };
}

const doubts = (count: number): PolicyWarning[] =>
  Array.from({ length: count }, (_, n) => ({ file: '/p.yaml', line: n + 1, message: 'doubtful' }));

describe('putInForce()', () => {
  it('says that the policy is good again when what was refused is taken back', () => {
    const { inForce, lines, loaded } = start();
    inForce.replace(loaded);
    assert.deepEqual(lines, []);
    inForce.keep(new IdentityError('ERR_POLICY', 'bad'), false);
    inForce.replace(loaded);
    inForce.replace(loaded);
    assert.deepEqual(
      lines.map(({ level, msg }) => [level, msg]),
      [
        ['warn', 'policy change refused, the last good policy stays'],
        ['info', 'the policy is good again, nothing has changed'],
      ],
    );
  });

  it('writes down five warnings and counts the others', () => {
    assert.deepEqual(
      start(doubts(5)).lines.map(({ path }) => path),
      ['/p.yaml:1', '/p.yaml:2', '/p.yaml:3', '/p.yaml:4', '/p.yaml:5'],
    );
    const { lines, inForce } = start(doubts(7));
    assert.equal(lines.length, 6);
    assert.deepEqual([lines[5]?.level, lines[5]?.detail], ['warn', '2 more, see credence check']);
    assert.equal(inForce.status().warnings.length, 7);
  });
});
