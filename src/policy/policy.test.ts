import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { policyEntry as entry } from '../../test/support/policy-entry.ts';
import { parseSelector, type Selector } from '../identity/selector.ts';
import type { PolicyEntry } from './entry.ts';
import { explainMatch } from './explain.ts';
import { compilePolicy } from './policy.ts';

function caller(...selectors: readonly string[]): readonly Selector[] {
  return selectors.map(parseSelector);
}

describe('match()', () => {
  it('takes entries whose selectors the caller all has', () => {
    const policy = compilePolicy([
      entry('one', ['a:1']),
      entry('both', ['a:1', 'b:1']),
      entry('other', ['a:1', 'c:1']),
    ]);
    const ids = (...selectors: string[]) =>
      policy.match(caller(...selectors)).map(({ id }) => id.slice(21));
    assert.deepEqual(ids('a:1', 'b:1'), ['both', 'one']);
    assert.deepEqual(ids('b:1'), []);
    assert.deepEqual(ids(), []);
    assert.equal(policy.size, 3);
  });

  it('orders by priority, then by ID, however the documents are ordered', () => {
    const entries = [
      entry('b', ['a:1']),
      entry('a', ['a:1']),
      entry('z', ['a:1'], { priority: 5 }),
      entry('0', ['a:1'], { priority: -1 }),
    ];
    for (const order of [entries, [...entries].reverse()]) {
      const ids = compilePolicy(order)
        .match(caller('a:1'))
        .map(({ id }) => id.slice(21));
      assert.deepEqual(ids, ['z', 'a', 'b', '0']);
    }
  });

  it('gives one identity for one ID: of the highest priority, then of the first entry', () => {
    const policy = compilePolicy([
      entry('x', ['a:1'], { hint: 'low' }),
      entry('x', ['b:1'], { hint: 'first', priority: 1 }),
      entry('{c:n}', ['c:n:x'], { hint: 'second', priority: 1 }),
    ]);
    const grants = policy.match(caller('a:1', 'b:1', 'c:n:x'));
    assert.deepEqual(
      grants.map(({ hint }) => hint),
      ['first'],
    );
  });

  it('fills in placeholders for each caller, or leaves the entry out', () => {
    const policy = compilePolicy([entry('ns/{k8s:ns}', ['k8s:sa:web'], { dnsNames: ['a.b'] })]);
    const [grant] = policy.match(caller('k8s:sa:web', 'k8s:ns:prod'));
    assert.equal(grant?.id, 'spiffe://example.org/ns/prod');
    assert.deepEqual(grant.dnsNames, ['a.b']);
    assert.deepEqual(policy.match(caller('k8s:sa:web')), []);
    assert.deepEqual(policy.match(caller('k8s:sa:web', 'k8s:ns:a/b')), []);
  });

  it('tells entries apart that share as many selectors as there may be', () => {
    const shared = Array.from({ length: 1023 }, (_, n) => `a:${n}`);
    const names = Array.from({ length: 9 }, (_, n) => `e${n}`);
    const policy = compilePolicy(names.map((name) => entry(name, [...shared, `b:${name}`])));
    const [found, ...more] = policy.match(caller(...shared, 'b:e7'));
    assert.deepEqual([found?.id, more], ['spiffe://example.org/e7', []]);
    // Far more than the stack is deep.
    const huge = Array.from({ length: 20_000 }, (_, n) => `a:${n}`);
    assert.equal(compilePolicy(names.map((name) => entry(name, huge))).size, 9);
  });

  it('finds what a scan of all entries finds', () => {
    const selector = fc
      .tuple(fc.constantFrom('a', 'b', 'c'), fc.nat(3))
      .map(([t, n]) => parseSelector(`${t}:${n}`));
    const selectors = fc.uniqueArray(selector, { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(fc.array(selectors, { maxLength: 80 }), selectors, (lists, held) => {
        const policy = compilePolicy(lists.map((list, n) => entry(`e${n}`, list)));
        const scan = lists
          .flatMap((list, n) =>
            list.every((s) => held.includes(s)) ? [`spiffe://example.org/e${n}`] : [],
          )
          .sort();
        assert.deepEqual(
          policy.match(held).map(({ id }) => id),
          scan,
        );
      }),
      { numRuns: 500 },
    );
  });
});

describe('revision', () => {
  const base = entry('a', ['a:1', 'b:1']);

  it('stays the same wherever the entries stand and however their selectors are ordered', () => {
    const moved = entry('a', ['b:1', 'a:1'], { source: 'other.yaml:9' });
    assert.equal(compilePolicy([base]).revision, compilePolicy([moved]).revision);
  });

  it('changes with everything an entry says', () => {
    const variants: readonly Partial<PolicyEntry>[] = [
      { spiffeId: 'spiffe://example.org/b' },
      { selectors: caller('a:1') },
      { x509SvidTtlMs: 1000 },
      { jwtSvidTtlMs: 1000 },
      { dnsNames: ['a'] },
      { federatesWith: ['a' as never] },
      { hint: 'a' },
      { priority: 1 },
    ];
    const revisions = new Set(variants.map((v) => compilePolicy([{ ...base, ...v }]).revision));
    revisions.add(compilePolicy([base]).revision).add(compilePolicy([]).revision);
    assert.equal(revisions.size, variants.length + 2);
  });
});

describe('explainMatch()', () => {
  const policy = compilePolicy([
    entry('granted', ['a:1'], { source: 'p:1' }),
    entry('{b:n}', ['a:1'], { source: 'p:2' }),
    entry('near', ['a:1', 'c:1'], { source: 'p:3' }),
    entry('nearer', ['a:1', 'b:2', 'd:1'], { source: 'p:4' }),
    entry('far', ['x:1', 'y:1'], { source: 'p:5' }),
    entry('granted', ['b:2'], { source: 'p:6' }),
    entry('single', ['z:1'], { source: 'p:7' }),
  ]);

  it('says what became of each entry that applies or nearly does, the nearest first', async () => {
    const { identities, verdicts } = await explainMatch(policy, caller('a:1', 'b:2'));
    assert.deepEqual(identities, policy.match(caller('a:1', 'b:2')));
    assert.equal(identities[0]?.source, 'p:1');
    assert.deepEqual(
      verdicts.map((v) => [v.kind, v.entry.source, 'missing' in v ? v.missing.join() : '']),
      [
        ['applies', 'p:1', ''],
        ['placeholder', 'p:2', ''],
        ['shadowed', 'p:6', ''],
        ['missing', 'p:4', 'd:1'],
        ['missing', 'p:3', 'c:1'],
        ['missing', 'p:7', 'z:1'],
      ],
    );
    assert.equal(
      verdicts[1]?.kind === 'placeholder' && verdicts[1].reason,
      '{b:n}: the caller has no such selector',
    );
    assert.equal(verdicts[2]?.kind === 'shadowed' && verdicts[2].by, 'p:1');
  });

  it('bounds the near misses and keeps the nearest', async () => {
    const told = await explainMatch(policy, caller('a:1', 'b:2'), { limit: 1 });
    const { verdicts, missingNotShown } = told;
    assert.equal(missingNotShown, 2);
    assert.deepEqual(
      verdicts.map(({ entry: { source } }) => source),
      ['p:1', 'p:2', 'p:6', 'p:4'],
    );
  });

  it('puts what the caller has something of before what it has nothing of', async () => {
    const entries = [entry('a', ['z:1']), entry('b', ['a:1', 'y:1', 'y:2'])];
    const { verdicts } = await explainMatch(compilePolicy(entries), caller('a:1'), { limit: 1 });
    assert.deepEqual(verdicts[0]?.entry.selectors.includes('a:1' as never), true);
  });

  it('says of a missed selector why no process has it', async () => {
    const entries = [entry('a', ['unix:usr:root', 'unix:uid:7'])];
    const { verdicts } = await explainMatch(compilePolicy(entries), caller('unix:uid:7'));
    assert.deepEqual(verdicts[0]?.kind === 'missing' && verdicts[0].findings, [
      'unix:usr:root matches no process: did you mean unix:user?',
    ]);
  });

  it('lets the event loop turn while it walks a large policy', async () => {
    const entries = Array.from({ length: 20_000 }, (_, n) => entry(`e${n}`, [`a:${n}`, 'b:2']));
    let turns = 0;
    let turning = setImmediate(function turn() {
      turns++;
      turning = setImmediate(turn);
    });
    const { verdicts } = await explainMatch(compilePolicy(entries), caller('a:7', 'b:2'));
    clearImmediate(turning);
    assert.deepEqual(
      verdicts.map(({ entry: { spiffeId } }) => spiffeId.slice('spiffe://example.org/'.length)),
      ['e7', 'e0', 'e1', 'e2', 'e3', 'e4', 'e5', 'e6', 'e8', 'e9', 'e10'],
    );
    assert.ok(turns >= 15, `${turns} turns`);
  });
});
