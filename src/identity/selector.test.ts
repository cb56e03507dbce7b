import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { IdentityError } from '../core/errors.ts';
import { loggable, parseSelector, parseSelectorList, selector, type Selector } from './selector.ts';

describe('parseSelector()', () => {
  it("keeps SPIRE's texts as they are", () => {
    for (const text of [
      'unix:uid:1000',
      'unix:path:/usr/bin/a b',
      'k8s:pod-label:app:web',
      'docker:label:k:v',
      'unix:user:müller',
      'x:y',
      'x::',
    ]) {
      assert.equal(parseSelector(text), text);
    }
  });

  for (const [what, text, message] of [
    ['no type', 'uid', /it has no type: write type:value/],
    ['an empty type', ':uid:1', /its type is not a lower-case word/],
    ['capitals in its type', 'Unix:uid:1', /its type is not a lower-case word/],
    ['a blank before its type', ' unix:uid:1', /its type is not a lower-case word/],
    ['no value', 'unix:', /its value is empty/],
    ['nothing at all', '', /it has no type/],
  ] as const) {
    it(`refuses a text that has ${what}, and says so`, () => {
      assert.throws(() => parseSelector(text), { code: 'ERR_BAD_REQUEST', message });
    });
  }

  it('takes 4096 bytes and not one more', () => {
    const longest = `unix:path:/${'a'.repeat(4085)}`;
    assert.equal(parseSelector(longest).length, 4096);
    assert.throws(
      () => parseSelector(`${longest}a`),
      /it has 4097 bytes, at most 4096 are allowed/,
    );
    assert.throws(() => parseSelector(`unix:${'é'.repeat(2046)}`), /it has 4097 bytes/);
  });

  it('refuses or returns the very text, whatever it is given', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        try {
          assert.equal(parseSelector(text), text);
        } catch (error) {
          assert.ok(error instanceof IdentityError && error.code === 'ERR_BAD_REQUEST');
        }
      }),
    );
  });

  it('takes what attestors build', () => {
    assert.equal(parseSelector(selector('unix', 'uid:1000')), 'unix:uid:1000');
  });
});

describe('parseSelectorList()', () => {
  it('takes texts between commas, each once and without the blanks around it', () => {
    const text = 'unix:uid:1, k8s:ns:a ,unix:uid:1';
    assert.deepEqual(parseSelectorList(text), ['unix:uid:1', 'k8s:ns:a']);
  });

  it('gives back what it was made of, or refuses it', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string(), fc.constantFrom('a:b', 'c:d'))), (parts) => {
        try {
          const list = parseSelectorList(parts.join(','));
          assert.deepEqual(list, [
            ...new Set(
              parts
                .join(',')
                .split(',')
                .map((part) => part.trim()),
            ),
          ]);
        } catch (thrown) {
          assert.ok(thrown instanceof IdentityError && thrown.code === 'ERR_BAD_REQUEST');
        }
      }),
    );
  });

  it('refuses more than a process has', () => {
    const list = Array.from({ length: 4097 }, (_, n) => `unix:gid:${n}`).join(',');
    assert.equal(parseSelectorList(list.slice(0, list.lastIndexOf(','))).length, 4096);
    assert.throws(() => parseSelectorList(list), /more than 4096 selectors/);
  });
});

describe('loggable()', () => {
  it('keeps the values of variables out of the log, and nothing else', () => {
    const texts = ['docker:env:A=b=c', 'docker:env:A=b\nc', 'docker:label:A=b', 'unix:uid:1'];
    assert.deepEqual(loggable(texts.map((text) => text as Selector)), [
      ...['docker:env:A=[redacted]', 'docker:env:A=[redacted]', 'docker:label:A=b', 'unix:uid:1'],
    ]);
  });
});
