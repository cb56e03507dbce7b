import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { IdentityError } from './errors.ts';
import { faultText, kindOf, parseYaml, parseYamlStream, pathText, shown } from './yaml.ts';

const OPTIONS = { code: 'ERR_CONFIG' } as const;

function parse(text: string | Uint8Array) {
  return parseYaml(text, 'c.yaml', OPTIONS);
}

function refusal(text: string | Uint8Array): string {
  try {
    parse(text);
  } catch (thrown) {
    assert.ok(thrown instanceof IdentityError);
    assert.equal(thrown.code, 'ERR_CONFIG');
    return thrown.message;
  }
  throw new assert.AssertionError({ message: 'the text was accepted' });
}

describe('parseYaml()', () => {
  it('reads the 1.2 core schema: yes, on and 010 are not what 1.1 made of them', () => {
    const text = 'a: yes\nb: on\nc: true\nd: 010\ne: 0x10\nf: ~\n1: one\ng: 2030-01-01';
    assert.deepEqual(parse(text).value, {
      a: 'yes',
      b: 'on',
      c: true,
      d: 10,
      e: 16,
      f: null,
      '1': 'one',
      g: '2030-01-01',
    });
  });

  it('reads JSON, a byte order mark and an empty text', () => {
    assert.deepEqual(parse('{"a":[1,{"b":null}]}').value, { a: [1, { b: null }] });
    assert.deepEqual(parse(Buffer.from('\u{feff}a: 1')).value, { a: 1 });
    assert.equal(parse('').value, null);
    assert.equal(parse('# nothing\n').value, null);
  });

  it('keeps __proto__ a plain key', () => {
    const value = parse('__proto__: {polluted: true}').value as object;
    assert.deepEqual(Object.keys(value), ['__proto__']);
    assert.equal(Object.getPrototypeOf(value), Object.prototype);
  });

  const REFUSALS: readonly (readonly [why: string, text: string | Uint8Array, message: RegExp])[] =
    [
      ['a syntax error', 'a: 1\nb: [1, 2\n', /^c\.yaml:\d+:\d+: flow sequence/],
      [
        'a template without quotes',
        'a: 1\nb: {{ .TrustDomain }}/x\n',
        /^c\.yaml:2:5: put the whole value into quotes, as '\{\{ … \}\}'/,
      ],
      ['a key that is a list', '? [a]\n: b\n', /^c\.yaml:1:3: a key has to be a text$/],
      ['a duplicate key', 'a: 1\nb: 2\na: 3', /^c\.yaml:3:1: the key "a" is there twice$/],
      ['a duplicate key in JSON', '{"a":1,"a":2}', /^c\.yaml:1:8: the key "a" is there twice$/],
      [
        'a missing colon before more keys',
        'a b\nc: 1',
        /^c\.yaml:1:1: implicit keys .*: expected `key: value`, is a colon or the space after it missing\?$/,
      ],
      [
        'a missing colon after other keys',
        'a: 1\nb [c]\n',
        /^c\.yaml:2:\d+: implicit map keys .*: expected `key: value`, is a colon or the space after it missing\?$/,
      ],
      [
        'a missing space after a colon',
        'a:b\nc: 1',
        /: expected `key: value`, is a colon or the space/,
      ],
      [
        'a mapping within a line, without that advice,',
        'a: b: c',
        /^c\.yaml:1:\d+: nested mappings are not allowed in compact mappings$/,
      ],
      ['a custom tag', 'a: !env HOME', /^c\.yaml:1:4: unresolved tag: !env$/],
      ['a custom tag on a mapping', 'a: !x {b: 1}', /^c\.yaml:1:4: unresolved tag: !x$/],
      [
        'a merge key',
        'a: &x {b: 1}\nc:\n  <<: *x',
        /^c\.yaml:3:3: merge keys \(<<\) are not allowed$/,
      ],
      ['a mapping as a key', '? {a: 1}\n: 2', /^c\.yaml:1:3: /],
      ['a second document', 'a: 1\n---\nb: 2', /^c\.yaml:3:1: only one document is allowed$/],
      [
        'bytes that are not UTF-8',
        Buffer.from([0x61, 0x3a, 0x20, 0xff]),
        /^c\.yaml: it is not UTF-8 text$/,
      ],
      ['an unknown alias', 'a: *b', /^c\.yaml:1:4: there is no anchor &b before it$/],
      ['a value that holds itself', 'a: &x [*x]', /^c\.yaml:1:8: \*x stands inside/],
      ['deep nesting', '['.repeat(200_000), /^c\.yaml: it is nested too deeply$|^c\.yaml:1:\d+: /],
    ];
  for (const [why, text, message] of REFUSALS) {
    it(`refuses ${why} with the place`, () => assert.match(refusal(text), message));
  }

  it('refuses more aliases than settings need', () => {
    const uses = Array.from({ length: 101 }, () => '*x').join(', ');
    assert.match(
      refusal(`a: &x 1\nb: [${uses}]`),
      /^c\.yaml:2:\d+: at most 100 aliases are allowed$/,
    );
  });

  it('reads an alias as what it stands for, mappings too', () => {
    assert.deepEqual(parse('a: &x {k: &y v}\nb: *x\nc: *y').value, {
      a: { k: 'v' },
      b: { k: 'v' },
      c: 'v',
    });
  });

  it('refuses an alias bomb before it unfolds', () => {
    const levels = Array.from({ length: 30 }, (_, n) =>
      n === 0 ? 'l0: &l0 [x, x]' : `l${n}: &l${n} [*l${n - 1}, *l${n - 1}]`,
    );
    assert.match(refusal(levels.join('\n')), /alias/i);
  });

  it('names both sizes when the text is too large', () => {
    assert.throws(
      () => parseYaml('a: 1234', 'c.yaml', { ...OPTIONS, maxBytes: 5 }),
      /^IdentityError: c\.yaml: it has 7 bytes, at most 5 are allowed$/,
    );
  });

  it('checks keys in linear time', () => {
    const text = Array.from({ length: 20_000 }, (_, n) => `k${n}: 1`).join('\n');
    assert.match(refusal(`${text}\nk7: 2`), /^c\.yaml:20001:1: the key "k7" is there twice$/);
  });

  it('throws nothing but IdentityError, whatever the bytes', () => {
    const pieces = fc.constantFrom(
      ...['a', ': ', '- ', '\n', '  ', '[', ']', '{', '}', ',', '"', "'", '&x ', '*x', '!!str '],
      ...[
        '!t ',
        '? ',
        '|\n',
        '>-\n',
        '---\n',
        '...\n',
        '#',
        '%YAML 1.1\n',
        '\t',
        '<<: ',
        '\0',
        '\\u',
      ],
    );
    const yamlish = fc.array(pieces, { maxLength: 30 }).map((list) => list.join(''));
    fc.assert(
      fc.property(fc.oneof(yamlish, fc.uint8Array({ maxLength: 60 })), (input) => {
        try {
          for (const document of parseYamlStream(input, 'f', OPTIONS))
            document.locate(['a', 0, 'b']);
        } catch (thrown) {
          assert.ok(thrown instanceof IdentityError, String(thrown));
        }
      }),
      { numRuns: 1500 },
    );
  });

  it('agrees with JSON.parse on any JSON without merge keys', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        // The one key that JSON allows and settings do not.
        fc.pre(!text.includes('"<<"'));
        assert.deepEqual(parse(text).value, JSON.parse(text));
      }),
      { numRuns: 300 },
    );
  });
});

describe('parseYamlStream()', () => {
  it('gives each document, without the empty ones', () => {
    const text = '---\n---\na: 1\n---\n# none\n---\nb: 2\n';
    const documents = parseYamlStream(text, 'c.yaml', OPTIONS);
    assert.deepEqual(
      documents.map((document) => document.value),
      [{ a: 1 }, { b: 2 }],
    );
    assert.deepEqual(documents[1]?.locate(['b']), { line: 7, column: 4 });
  });
});

describe('locate()', () => {
  const document = parse('top:\n  - name: x\n    list: [1, two]\nshared: &s {k: v}\nalso: *s\n');

  it('finds keys and values', () => {
    assert.deepEqual(document.locate(['top', 0, 'list', 1]), { line: 3, column: 15 });
    assert.deepEqual(document.locate(['top', 0, 'name'], 'key'), { line: 2, column: 5 });
    assert.deepEqual(document.locate(['top', 0]), { line: 2, column: 5 });
    assert.deepEqual(document.locate([]), { line: 1, column: 1 });
  });

  it('follows an alias to what it stands for', () => {
    assert.deepEqual(document.locate(['also', 'k']), { line: 4, column: 16 });
  });

  it('counts from the origin of a piece of a file', () => {
    const origin = { line: 10, column: 5 };
    const piece = parseYaml('{"a":1,\n"b":2}', 'c.json', { ...OPTIONS, origin });
    assert.deepEqual(piece.locate(['a']), { line: 10, column: 10 });
    assert.deepEqual(piece.locate(['b']), { line: 11, column: 5 });
  });

  it('falls back to what encloses a path that does not exist', () => {
    assert.deepEqual(document.locate(['top', 0, 'absent']), { line: 2, column: 5 });
    assert.deepEqual(document.locate(['top', 9]), { line: 2, column: 3 });
  });
});

describe('faultText()', () => {
  it('is file, line, column, key and expectation', () => {
    assert.equal(
      faultText('c.yaml', { line: 3, column: 9 }, ['entries', 2, 'hint'], 'expected a text'),
      'c.yaml:3:9: entries[2].hint: expected a text',
    );
    assert.equal(faultText('c.yaml', { line: 1, column: 1 }, [], 'x'), 'c.yaml:1:1: x');
    assert.equal(pathText([0, 'a']), '[0].a');
  });
});

describe('shown()', () => {
  it('leaves an ordinary text as it is, in any language', () => {
    for (const text of ['', 'spiffe_id', 'schlüssel', '鍵', 'x'.repeat(64)]) {
      assert.equal(shown(text), text);
    }
  });

  it('shortens a long one to 64 characters, and cuts none in two', () => {
    assert.equal(shown('x'.repeat(65)), `${'x'.repeat(64)}…`);
    assert.equal(shown(`${'x'.repeat(63)}😀y`), `${'x'.repeat(63)}…`);
  });

  it('shows what would steer a terminal or fake a line', () => {
    assert.equal(shown('a\u001b[2Jb\nc\u202ed'), 'a\\u{1b}[2Jb\\u{a}c\\u{202e}d');
  });

  it('gives one harmless line of bounded length, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), fc.nat(100), (text, max) => {
        const line = shown(text, max);
        assert.doesNotMatch(line, /[\p{C}\p{Zl}\p{Zp}]/u);
        assert.ok(line.length <= 10 * max + 1);
      }),
    );
  });
});

describe('a complaint', () => {
  const complaintOf = (text: string) => {
    try {
      parse(text);
      return '';
    } catch {
      return refusal(text);
    }
  };

  it('quotes a key that is there twice shortened and harmless', () => {
    const key = `"\\u001b[2J${'k'.repeat(100)}"`;
    const message = refusal(`${key}: 1\n${key}: 2\n`);
    assert.match(message, /the key "\\u\{1b\}\[2Jk{60}…" is there twice$/);
  });

  it('is one harmless line of bounded length, whatever is wrong with the text', () => {
    const name = fc.string({ unit: 'binary', maxLength: 300 });
    const texts = fc.oneof(
      name,
      name.map((key) => `${JSON.stringify(key)}: 1\n${JSON.stringify(key)}: 2\n`),
      name.map((key) => `a: *${key}\n`),
      name.map((key) => `a: !${key} x\n`),
      name.map((key) => `%${key}\n---\na: 1\n`),
    );
    fc.assert(
      fc.property(texts, (text) => {
        const message = complaintOf(text);
        assert.doesNotMatch(message, /[\p{C}\p{Zl}\p{Zp}]/u);
        assert.ok(message.length < 12_000);
      }),
    );
  });
});

describe('kindOf()', () => {
  it('names every kind without printing what may be long', () => {
    const kinds = [null, undefined, [], {}, 'secret', 5, false].map(kindOf);
    assert.deepEqual(kinds, ['nothing', 'nothing', 'a list', 'a mapping', 'a text', '5', 'false']);
  });
});
