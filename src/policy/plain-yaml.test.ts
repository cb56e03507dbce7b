import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { errorText } from '../core/errors.ts';
import { parseYamlStream } from '../core/yaml.ts';
import type { ItemText } from './entry-list.ts';
import { readPlainItem, splitBlockList } from './plain-yaml.ts';

/** All pieces of a text in the layout, or undefined. */
function split(text: string): readonly ItemText[] | undefined {
  const pieces: ItemText[] = [];
  const generator = splitBlockList(text);
  let step = generator.next();
  for (; !step.done; step = generator.next()) pieces.push(step.value);
  return step.value ? pieces : undefined;
}

/** What the fast reader makes of a text: a value, or undefined where it leaves it to the parser. */
function fast(text: string): unknown {
  const pieces = split(text);
  if (!pieces) return undefined;
  const values = pieces.map(({ from, to }) => readPlainItem(text.slice(from, to)));
  return values.includes(undefined) ? undefined : [{ entries: values }];
}

/** What the full parser makes of it; its complaint as a text. */
function full(text: string): unknown {
  try {
    return parseYamlStream(text, 'f', { code: 'ERR_POLICY' }).map((document) => document.value);
  } catch (thrown) {
    return errorText(thrown);
  }
}

const ENTRY = 'entries:\n  - spiffe_id: spiffe://example.org/web\n';

describe('readPlainItem()', () => {
  const PLAIN: readonly (readonly [why: string, lines: string, value: unknown])[] = [
    [
      'a flow list',
      '    selectors: [unix:uid:1, "a, b", \'c\', 5]',
      ['unix:uid:1', 'a, b', 'c', 5],
    ],
    [
      'a block list',
      '    selectors:\n      - unix:uid:1\n      - "x: y" # why',
      ['unix:uid:1', 'x: y'],
    ],
    ['a list as deep as its key', '    selectors:\n    - a:b', ['a:b']],
    ['a placeholder', '    selectors: a/{k8s:ns}/b', 'a/{k8s:ns}/b'],
    ['a duration', '    selectors: 30m', '30m'],
    ['numbers', '    selectors: [0, -7, 1000]', [0, -7, 1000]],
    ['booleans', '    selectors: [true, False]', [true, false]],
    ['words of YAML 1.1', '    selectors: [yes, on, Off, n]', ['yes', 'on', 'Off', 'n']],
    ['comments', '    selectors: a # b\n\n  # c\n    hint: d', 'a'],
  ];
  for (const [why, lines, value] of PLAIN) {
    it(`reads ${why} as the full parser does`, () => {
      const text = `# head\n---\n${ENTRY}${lines}\n`;
      const read = fast(text);
      assert.notEqual(read, undefined);
      assert.deepEqual(read, full(text));
      const [document] = read as [{ entries: [Record<string, unknown>] }];
      assert.deepEqual(document.entries[0]['selectors'], value);
    });
  }

  const DOUBTFUL = [
    ['an anchor', 'hint: &a b'],
    ['an alias', 'hint: *a'],
    ['a tag', 'hint: !x b'],
    ['a block scalar', 'hint: |\n      b'],
    ['a continued line', 'hint: b\n      c'],
    ['an escape', 'hint: "\\n"'],
    ['a nested mapping', 'hint: {a: b}'],
    ['a null', 'hint: ~'],
    ['nothing', 'hint:'],
    ['a number with a point', 'hint: 1.5'],
    ['a leading zero', 'hint: 010'],
    ['a hexadecimal number', 'hint: 0x10'],
    ['a key twice', 'spiffe_id: b'],
    ['a carriage return', 'hint: b\r'],
    ['a tab', 'hint: b\t'],
    ['a letter of another script', 'hint: é'],
    ['a mapping in a list', 'selectors:\n      - a: b'],
  ] as const;
  for (const [why, line] of DOUBTFUL) {
    it(`leaves ${why} to the full parser`, () => {
      assert.equal(fast(`${ENTRY}    ${line}\n`), undefined);
    });
  }

  it('reads nothing that the full parser reads otherwise', () => {
    const scalar = fc.constantFrom(
      ...[
        'a',
        'unix:uid:1',
        'a:',
        ':a',
        '"q"',
        "'q'",
        '"a" b',
        "'it''s'",
        '"a\\tb"',
        '1',
        '-1',
        '00',
      ],
      ...[
        '1e3',
        '30m',
        '3d',
        '~',
        'null',
        'Null',
        'true',
        'TRUE',
        'tRue',
        'a b',
        'a #b',
        'a#b',
        '#b',
      ],
      ...[
        '[a]',
        '[a, b]',
        '[a,b]',
        '[ a ]',
        '[a]#',
        '[a] #',
        '[a,]',
        '[]',
        '[[a]]',
        '[a: b]',
        '[a:b]',
      ],
      ...[
        '[a{b]',
        '{a}',
        'a{b}',
        'a,b',
        '[a,\n b]',
        '&x a',
        '*x',
        '!t a',
        '|',
        '>-',
        '? a',
        '- a',
        '-',
      ],
      ...[
        '["a]", b]',
        "['a', b]",
        '.inf',
        '-.inf',
        '0x1',
        '2030-01-01',
        'é',
        'a\r',
        '%a',
        '@a',
        '`a',
      ],
    );
    const key = fc.constantFrom('hint', 'spiffe_id', 'a', 'null', '"q"', '<<', '__proto__');
    const pad = fc.constantFrom('    ', '    ', '    ', '  ', '      ', '', '\t');
    const line = fc.oneof(
      { weight: 4, arbitrary: fc.tuple(pad, key, scalar).map(([p, k, s]) => `${p}${k}: ${s}`) },
      fc.tuple(pad, key).map(([p, k]) => `${p}${k}:`),
      { weight: 3, arbitrary: fc.tuple(pad, scalar).map(([p, s]) => `${p}- ${s}`) },
      fc.constantFrom(
        '',
        ' ',
        '# c',
        '      # c',
        '---',
        '...',
        '  - hint: b',
        '  -',
        '  - - a',
        '- a: b',
      ),
    );
    const document = fc
      .tuple(
        fc.constantFrom('entries:', 'entries: # c', '# c\nentries:', '---\nentries:'),
        fc.array(line, { maxLength: 6 }),
      )
      .map(([head, lines]) => `${head}\n  - spiffe_id: x\n${lines.join('\n')}`);
    let read = 0;
    fc.assert(
      fc.property(document, (text) => {
        const value = fast(text);
        if (value === undefined) return;
        read++;
        assert.deepEqual(value, full(text));
      }),
      { numRuns: 2500 },
    );
    assert.ok(read > 100, `only ${read} texts were in the plain layout`);
  });
});

describe('splitBlockList()', () => {
  it('gives pieces that mean alone what they mean together', () => {
    const line = fc.constantFrom(
      ...[
        '  - a: b',
        '  - a: |',
        '      text',
        '      - text',
        '    c: "x',
        '      y"',
        '    c: d',
      ],
      ...[
        '  - a: [x,',
        '      y]',
        '    # c',
        '',
        '  - - z',
        '    e: &n f',
        '    g: *n',
        '  -',
        '  - "q',
      ],
      ...['  - r"', '- at the edge', '  - a: >+', '    - 1'],
    );
    let whole = 0;
    fc.assert(
      fc.property(fc.array(line, { minLength: 1, maxLength: 8 }), (lines) => {
        const text = `entries:\n${lines.join('\n')}\n`;
        const pieces = split(text);
        if (!pieces) return;
        const alone = pieces.map(({ from, to }) => full(text.slice(from, to)));
        // A piece the parser refuses sends the whole text there.
        if (alone.some((value) => !Array.isArray(value) || value.length !== 1)) return;
        whole++;
        const values = alone.map((value) => ((value as unknown[])[0] as unknown[])[0]);
        assert.deepEqual([{ entries: values }], full(text));
      }),
      { numRuns: 2500 },
    );
    assert.ok(whole > 80, `only ${whole} texts were split`);
  });
});
