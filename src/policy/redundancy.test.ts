import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { policyEntry } from '../../test/support/policy-entry.ts';
import { parseSelector } from '../identity/selector.ts';
import type { PolicyEntry } from './entry.ts';
import { compilePolicy } from './policy.ts';
import { redundantEntries } from './redundancy.ts';

let line = 0;
function entry(path: string, selectors: readonly string[], more: Partial<PolicyEntry> = {}) {
  return policyEntry(path, selectors, { source: `p.yaml:${++line}`, ...more });
}

const found = (...entries: PolicyEntry[]) =>
  [...redundantEntries(entries)].map((one) => [one.entry, one.why]);

describe('redundantEntries()', () => {
  it('names the narrower of two entries that say the same, wherever it stands', () => {
    const wide = entry('a', ['x:1']);
    const narrow = entry('a', ['y:1', 'x:1']);
    const why = `redundant: ${wide.source} gives spiffe://example.org/a to all that have some of these selectors`;
    assert.deepEqual(found(wide, narrow), [[narrow, why]]);
    assert.deepEqual(found(narrow, wide), [[narrow, why]]);
  });

  it('says of one that another goes before that it never counts', () => {
    const wide = entry('a', ['x:1'], { priority: 1 });
    const narrow = entry('a', ['x:1', 'y:1'], { x509SvidTtlMs: 60_000 });
    const why = `never counts: ${wide.source} gives spiffe://example.org/a to all that this entry fits, and goes first`;
    assert.deepEqual(found(narrow, wide), [[narrow, why]]);
  });

  it('leaves a narrower one that says something of its own and goes first', () => {
    const short = { x509SvidTtlMs: 60_000 };
    assert.deepEqual(found(entry('a', ['x:1', 'y:1'], short), entry('a', ['x:1'])), []);
    const first = { hint: 'mine', priority: 1 };
    assert.deepEqual(found(entry('a', ['x:1']), entry('a', ['x:1', 'y:1'], first)), []);
  });

  it('leaves entries of other IDs, and selectors that only overlap', () => {
    assert.deepEqual(found(entry('a', ['x:1']), entry('b', ['x:1', 'y:1'])), []);
    assert.deepEqual(found(entry('a', ['x:1', 'z:1']), entry('a', ['x:1', 'y:1'])), []);
  });

  it('fills in placeholders whose value the selectors of the entry say', () => {
    const template = entry('u/{unix:uid}', ['unix:uid:1000']);
    const literal = entry('u/1000', ['unix:uid:1000']);
    const why = (source: string, which: string) =>
      `redundant: ${source} gives spiffe://example.org/u/1000 to all that have ${which} selectors`;
    assert.deepEqual(found(template, literal), [[literal, why(template.source, 'these')]]);
    assert.deepEqual(found(literal, template), [[template, why(literal.source, 'these')]]);
    const narrow = entry('u/{unix:uid}', ['unix:gid:1', 'unix:uid:1000']);
    assert.deepEqual(found(narrow, literal), [[narrow, why(literal.source, 'some of these')]]);
  });

  it('leaves a placeholder that has no value for some who have the selectors', () => {
    const gid = 'unix:supplementary_gid:5';
    assert.deepEqual(
      found(entry('g/{unix:supplementary_gid}', [gid]), entry('g/5', [gid, 'unix:uid:1'])),
      [],
    );
  });

  it('names only what may go without any process noticing, and of entries alike all of it', () => {
    const texts = ['x:1', 'y:1', 'z:1'];
    const drawn = fc.record({
      path: fc.constantFrom('a', 'b'),
      selectors: fc.uniqueArray(fc.constantFrom(...texts), { minLength: 1 }),
      priority: fc.constantFrom(0, 0, 0, 1),
      hint: fc.constantFrom('', '', '', 'h'),
    });
    const callers = [...Array(2 ** texts.length).keys()].map((bits) =>
      texts.filter((_, n) => (bits & (1 << n)) !== 0).map(parseSelector),
    );
    const key = ({ path, selectors }: { path: string; selectors: string[] }) =>
      path + [...selectors].sort().join();
    fc.assert(
      fc.property(fc.uniqueArray(drawn, { selector: key, maxLength: 8 }), (specs) => {
        const entries = specs.map(({ path, selectors, ...more }) => entry(path, selectors, more));
        const grants = (policy: readonly PolicyEntry[]) =>
          callers.map((caller) =>
            compilePolicy(policy)
              .match(caller)
              .map(({ id, priority, hint }) => [id, priority, hint]),
          );
        const needless = new Set([...redundantEntries(entries)].map((one) => one.entry));
        assert.deepEqual(grants(entries.filter((one) => !needless.has(one))), grants(entries));
        if (specs.some(({ priority, hint }) => priority !== 0 || hint !== '')) return;
        for (const one of entries) {
          const others = entries.filter((other) => other !== one);
          const missed = JSON.stringify(grants(others)) !== JSON.stringify(grants(entries));
          assert.equal(needless.has(one), !missed);
        }
      }),
    );
  });

  it('does not compare each with each', () => {
    const many = Array.from({ length: 50_000 }, (_, n) => entry('a', ['x:1', `y:${n}`]));
    const start = performance.now();
    assert.equal(found(...many.slice(1), entry('a', ['y:7']), entry('a', ['z:1'])).length, 1);
    // A quarter of a second where it was written; a scan for each entry takes a minute.
    assert.ok(performance.now() - start < 10_000);
  });
});
