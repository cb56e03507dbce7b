import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { explainText } from './explain-text.ts';
import { parseExplanation } from './explain-view.ts';

const shown = (document: unknown) => explainText(parseExplanation(document));
const identity = (spiffe_id: string, priority: number) => ({ spiffe_id, priority, source: 'p:1' });

describe('explainText()', () => {
  it('says of several identities what makes the first one the default', () => {
    const told = (...priorities: number[]) => {
      const identities = priorities.map((priority, n) => identity(`spiffe://td/${n}`, priority));
      const text = shown({ selectors: [], identities, entries: [] });
      return /^default {5}spiffe:\/\/td\/0, as (.*)$/m.exec(text)?.[1];
    };
    assert.equal(told(), undefined);
    assert.equal(told(7), 'the only one');
    assert.equal(told(7, 1), 'priority 7 is the highest');
    assert.equal(told(0, 0, 0), 'the first SPIFFE ID in byte order of 3 with priority 0');
    assert.equal(
      told(7, 7, 1),
      'the first SPIFFE ID in byte order of 2 with the highest priority 7',
    );
  });

  it('names a few of the groups that a process has instead of the one it misses', () => {
    const group = (n: number) => `unix:supplementary_gid:${n}`;
    const text = shown({
      selectors: [1, 2, 3, 4, 5, 6].map(group),
      identities: [],
      entries: [{ verdict: 'missing', spiffe_id: 'a', source: 'p:1', missing: [group(7)] }],
    });
    const some = [1, 2, 3, 4].map(group).join(', ');
    assert.ok(text.endsWith(`misses ${group(7)} (it has ${some} and 2 more)\n`), text);
  });

  it('says why no process has a selector that is missed, and how many entries it leaves out', () => {
    const why = 'unix:usr:root matches no process: did you mean unix:user?';
    const missing = ['unix:usr:root'];
    const text = shown({
      selectors: [],
      identities: [],
      entries: [{ verdict: 'missing', spiffe_id: 'a', source: 'p:1', missing, findings: [why] }],
      missing_not_shown: 3,
    });
    assert.ok(
      text.endsWith(
        `misses unix:usr:root\n${' '.repeat(14)}${why}\nnot shown   3 more that miss selectors\n`,
      ),
      text,
    );
  });

  it('lets no answer steer the terminal or add a line', () => {
    const hostile = '\x1b[2J\nidentities  spiffe://td/admin\u202e';
    const entry = {
      spiffe_id: hostile,
      source: hostile,
      missing: [hostile],
      findings: [hostile],
      reason: hostile,
    };
    const text = shown({
      pid: 1,
      selectors: [hostile],
      identities: [{ spiffe_id: hostile, source: hostile }],
      entries: ['missing', 'shadowed', 'placeholder'].map((verdict) => ({ ...entry, verdict })),
    });
    assert.doesNotMatch(text, /[^\x20-\x7e\n]/);
    assert.equal(text.split('\n').length, 9);
  });

  it('shows something of any answer that is an explanation at all', () => {
    const list = fc.array(fc.oneof(fc.jsonValue(), fc.record({ verdict: fc.constant('missing') })));
    fc.assert(
      fc.property(fc.jsonValue(), list, list, list, (pid, selectors, identities, entries) => {
        assert.match(shown({ pid, selectors, identities, entries }), /^identities {2}.+$/m);
      }),
    );
  });

  it('takes nothing else for one', () => {
    for (const document of [null, 'a', [], {}, { selectors: [], identities: [] }]) {
      assert.throws(() => parseExplanation(document), { code: 'ERR_UNREACHABLE' });
    }
  });
});
