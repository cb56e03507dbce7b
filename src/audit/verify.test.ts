import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { verifyTexts } from '../../test/support/audit.ts';
import { BEGINNING, readRecord, seal, type Head } from './chain.ts';
import { Verifier } from './verify.ts';

/** Lines of a chain, each with its line break. */
function chain(count: number, from: Head = BEGINNING, more = ''): string[] {
  let head = from;
  return Array.from({ length: count }, (_, n) => {
    const opened = `{"v":1,"seq":${head.seq + 1},"time":"2030-01-01T00:00:00.000Z","event":"e","n":${n}${more}`;
    const sealed = seal(opened, head);
    head = sealed.head;
    return sealed.line;
  });
}

function headOf(lines: readonly string[]): Head {
  const record = readRecord(Buffer.from(lines.at(-1)?.trimEnd() ?? ''));
  assert.ok(typeof record === 'object');
  return record;
}

const brokenAt = (text: string | Uint8Array, options = {}) =>
  verifyTexts({ file: text }, options).broken;

describe('a sealed record', () => {
  it('has the hash of all that stands before it in the line', () => {
    const [line = ''] = chain(1);
    const [, before = '', hash] = /^(.*),"hash":"([0-9a-f]{64})"\}\n$/.exec(line) ?? [];
    assert.equal(createHash('sha256').update(before).digest('hex'), hash);
    assert.equal((JSON.parse(line) as { hash: string }).hash, hash);
  });
});

describe('Verifier', () => {
  it('finds a chain whole, in pieces of any length', () => {
    const text = Buffer.from(chain(20).join(''));
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 500 }), { maxLength: 40 }), (lengths) => {
        const verifier = new Verifier();
        verifier.begin('file');
        let at = 0;
        for (const length of lengths) verifier.take(text.subarray(at, (at += length)));
        verifier.take(text.subarray(at));
        verifier.end();
        const { records, broken, head } = verifier.verdict();
        assert.deepEqual([records, broken, head.seq], [20, undefined, 20]);
      }),
    );
  });

  it('finds any byte that was changed, in the line where it is', () => {
    const lines = chain(8);
    const text = Buffer.from(lines.join(''));
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const edited = Buffer.from(text);
        edited[at] = (edited[at] ?? 0) ^ change;
        const line = text.subarray(0, at).filter((byte) => byte === 0x0a).length + 1;
        const broken = brokenAt(edited);
        assert.equal(broken?.line, line);
        assert.equal(broken.seq, line);
      }),
      { numRuns: 2000 },
    );
  });

  it('finds any byte that was put in or taken out', () => {
    const text = chain(8).join('');
    fc.assert(
      fc.property(fc.nat(text.length - 2), fc.integer({ min: 0, max: 255 }), (at, byte) => {
        const more = Buffer.concat([
          Buffer.from(text.slice(0, at)),
          Buffer.from([byte]),
          Buffer.from(text.slice(at)),
        ]);
        assert.notEqual(brokenAt(more), undefined);
        assert.notEqual(brokenAt(text.slice(0, at) + text.slice(at + 1)), undefined);
      }),
      { numRuns: 1000 },
    );
  });

  it('finds lines that were dropped, doubled or swapped, where the first of them is', () => {
    const lines = chain(12);
    const nth = fc.nat(lines.length - 2);
    fc.assert(
      fc.property(nth, fc.integer({ min: 1, max: 12 }), (at, count) => {
        // Not the last ones: that the end is missing only who kept its hash can tell.
        const most = Math.min(count, lines.length - 1 - at);
        const broken = brokenAt(lines.toSpliced(at, most).join(''));
        assert.equal(broken?.line, at + 1);
        assert.equal(broken.seq, at + 1);
      }),
    );
    fc.assert(
      fc.property(fc.nat(lines.length - 1), fc.nat(lines.length - 1), (at, to) => {
        const doubled = lines.toSpliced(to, 0, lines[at] ?? '');
        assert.notEqual(brokenAt(doubled.join('')), undefined);
      }),
    );
    fc.assert(
      fc.property(nth, fc.nat(lines.length - 1), (a, b) => {
        fc.pre(a !== b);
        const swapped = lines.with(a, lines[b] ?? '').with(b, lines[a] ?? '');
        assert.equal(brokenAt(swapped.join(''))?.line, Math.min(a, b) + 1);
      }),
    );
  });

  it('never throws, and takes nothing made up for a record', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 400 }), (bytes) => {
        assert.equal(verifyTexts({ file: bytes }).records, 0);
      }),
    );
  });

  it('names what is wrong', () => {
    const lines = chain(4);
    const of = (...text: readonly (string | undefined)[]) => brokenAt(text.join(''))?.reason ?? '';
    const [one = '', two = '', three = ''] = lines;
    assert.match(of(one, three), /has seq 3: what is between it and 1 is missing/);
    assert.match(of(one, two, two), /has seq 2, which was there before/);
    assert.match(of(two), /has seq 2, and the records before it are not there/);
    assert.match(of(one, two.replace('"n":1', '"n":7')), /its hash is not that of its content/);
    assert.match(of(one, 'hello\n', two), /no record/);
    assert.match(of(one, '\n', two), /no record/);
    const other = chain(3, BEGINNING, ',"x":1');
    assert.match(of(one, other[1]), /does not follow the record before it/);
    assert.match(of(one, other[0]), /a chain begins here/);
    assert.match(of(seal('{"v":2,"seq":1', BEGINNING).line), /its version is not 1/);
    assert.match(of(seal('{"v":1,"seq":1.5', BEGINNING).line), /no seq/);
    assert.match(of(seal('{"v":1,"seq":1', BEGINNING).line), /no event/);
    assert.match(of(seal('{"v":1,,', BEGINNING).line), /not JSON/);
    assert.match(of(`${'x'.repeat(100_000)}\n`), /more than 65536 bytes/);
  });

  it('accepts a line cut short by a crash if the next record has its hash, and nothing else', () => {
    const [one = '', two = ''] = chain(2);
    const cut = two.slice(0, 40);
    const hash = createHash('sha256').update(cut).digest('hex');
    const next = chain(1, headOf([one]), `,"resumed":"${hash}"`).join('');
    assert.equal(brokenAt(`${one}${cut}\n${next}`), undefined);
    const cuts: Readonly<Record<string, string>> = {
      'with another part': `${one}${cut.slice(1)}\n${next}`,
      'with two parts': `${one}${cut}\n${cut}\n${next}`,
      'with none': `${one}${next}`,
      'with nothing after it': `${one}${cut}`,
      'with a record that says nothing of it': `${one}${cut}\n${two}`,
    };
    for (const [name, text] of Object.entries(cuts)) {
      assert.equal(brokenAt(text)?.line, 2, name);
    }
  });

  it('takes several files as one chain, and names the one that is broken', () => {
    const first = chain(3);
    const second = chain(3, headOf(first));
    const whole = verifyTexts({ a: first.join(''), b: second.join('') });
    assert.deepEqual([whole.broken, whole.records, whole.head.seq], [undefined, 6, 6]);
    const { broken } = verifyTexts({ a: first.slice(0, 2).join(''), b: second.join('') });
    assert.deepEqual([broken?.file, broken?.line, broken?.seq], ['b', 1, 3]);
    const after = headOf(first).hash;
    assert.equal(brokenAt(second.join(''), { after }), undefined);
    assert.match(brokenAt(second.join(''), { after: 'ab'.repeat(32) })?.reason ?? '', /not follow/);
    assert.match(brokenAt(first.join(''), { after })?.reason ?? '', /does not follow/);
  });

  it('says when a record that was there before is gone', () => {
    const lines = chain(5);
    const expect = headOf(lines).hash;
    assert.equal(brokenAt(lines.join(''), { expect }), undefined);
    const longer = [...lines, ...chain(2, headOf(lines))];
    assert.equal(brokenAt(longer.join(''), { expect }), undefined);
    const cut = brokenAt(lines.slice(0, 4).join(''), { expect });
    assert.match(cut?.reason ?? '', /no record has the hash/);
    const anew = chain(9, BEGINNING, ',"forged":1').join('');
    assert.match(brokenAt(anew, { expect })?.reason ?? '', /no record has the hash/);
  });

  it('finds the records of a log between other lines, one chain for each start', () => {
    const started = (n: number) => {
      const opened = `{"component":"audit","v":1,"seq":1,"time":"t","event":"started","n":${n}`;
      const first = seal(opened, BEGINNING);
      const more = chain(2, first.head, ',"component":"audit"');
      return [first.line, '{"msg":"another line"}\n', ...more];
    };
    const log = [...started(1), 'noise\n', ...started(2)];
    const whole = verifyTexts({ log: log.join('') }, { isLog: true });
    assert.deepEqual([whole.broken, whole.records], [undefined, 6]);
    const { broken } = verifyTexts({ log: log.toSpliced(2, 1).join('') }, { isLog: true });
    assert.equal(broken?.line, 3);
  });
});
