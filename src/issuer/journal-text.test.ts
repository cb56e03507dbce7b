import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { FakeDisk } from '../../test/support/authorities.ts';
import { issuerConfig, issuerDeps } from '../../test/support/issuer.ts';
import { IdentityError } from '../core/errors.ts';
import { continueAuthorities } from './authority-source.ts';
import { formatJournal, parseJournal } from './journal-text.ts';

const PATH = '/data/journal.json';

/** A journal with everything in it that there can be. */
async function makeState() {
  const disk = new FakeDisk();
  const source = await continueAuthorities(disk.process(), issuerConfig(), issuerDeps());
  const signal = AbortSignal.timeout(20_000);
  const control = source.control();
  const [ca = ''] = source.authorities().flatMap(({ slot, id }) => (slot === 'active' ? [id] : []));
  await control?.taint(ca, { signal });
  await control?.revoke(ca, { signal, force: false });
  await control?.prepare('root', { signal });
  await control?.prepare('issuing', { signal });
  source.close();
  const state = disk.read();
  assert.ok(state);
  return state;
}

const STATE = await makeState();
const EMPTY = { ...STATE, roots: [], issuing: [] };
type Item = Record<string, unknown>;
type Document = Record<string, unknown> & { roots: Item[]; issuing: Item[] };

/** The journal's document with something changed, by somebody who knows about the digest. */
function changed(change: (document: Document) => void, digests = true) {
  const { digest, ...document } = JSON.parse(formatJournal(STATE)) as Document;
  change(document);
  const fresh = createHash('sha256').update(JSON.stringify(document)).digest('hex');
  return JSON.stringify({ ...document, digest: digests ? fresh : digest });
}

describe('the journal', () => {
  it('reads back what it wrote', () => {
    const again = (text: string) => formatJournal(parseJournal(text, PATH));
    for (const state of [STATE, EMPTY]) {
      const text = formatJournal(state);
      assert.equal(again(text), text);
    }
    assert.equal(STATE.roots.length, 2);
    assert.equal(STATE.issuing.length, 3);
  });

  it('holds no key', () => {
    assert.doesNotMatch(formatJournal(STATE), /PRIVATE|pkcs8/i);
  });

  it('is refused when cut anywhere, with its name and what to do', () => {
    const text = formatJournal(STATE).trimEnd();
    for (let length = 0; length < text.length; length += 7) {
      assert.throws(
        () => parseJournal(text.slice(0, length), PATH),
        (thrown) =>
          thrown instanceof IdentityError &&
          thrown.code === 'ERR_KEY_STORE' &&
          thrown.message.includes(PATH) &&
          thrown.hint?.includes('backup') === true,
      );
    }
  });

  it('is refused when any byte of it was changed', () => {
    const text = formatJournal(STATE);
    for (let at = 0; at < text.length; at += 13) {
      const other = text[at] === '1' ? '2' : '1';
      const edited = text.slice(0, at) + other + text.slice(at + 1);
      // Between the values any space is as good as another.
      if (/\s/.test(text[at] ?? '')) continue;
      assert.throws(() => parseJournal(edited, PATH), { code: 'ERR_KEY_STORE' }, `at ${at}`);
    }
  });

  it('says to start the newer credence when the version is newer', () => {
    const text = changed((document) => (document['version'] = 3));
    assert.throws(() => parseJournal(text, PATH), { message: /version 3.*up to 2/, hint: /newer/ });
  });

  it('ignores a field it does not know', () => {
    const text = changed((document) => (document['later'] = { a: 1 }));
    assert.equal(formatJournal(parseJournal(text, PATH)), formatJournal(STATE));
  });

  const active = ({ issuing }: Document) => issuing.find((ca) => ca['state'] === 'active') ?? {};
  const old = ({ issuing }: Document) => issuing.find((ca) => ca['state'] === 'old') ?? {};
  const prepared = ({ issuing }: Document) =>
    issuing.find((ca) => ca['state'] === 'prepared') ?? {};
  const faults: readonly [RegExp, (document: Document) => void][] = [
    [/no known version/, (document) => delete document['version']],
    [/no known version/, (document) => (document['version'] = '2')],
    [/trust_domain/, (document) => (document['trust_domain'] = 1)],
    [/bundle_sequence/, (document) => (document['bundle_sequence'] = 1.5)],
    [/written_ms/, (document) => (document['written_ms'] = -1)],
    [/longest_ttl_ms/, (document) => delete document['longest_ttl_ms']],
    [/roots is not a list/, (document) => (document['roots'] = {} as never)],
    [/issuing has 257/, (document) => (document.issuing = Array<Item>(257).fill({}))],
    [/roots\[0\]: state/, ({ roots: [first = {}] }) => (first['state'] = 'next')],
    [/roots\[0\]: key_id/, ({ roots: [first = {}] }) => (first['key_id'] = '../../etc/shadow')],
    [/issuing\[0\]: key_type/, ({ issuing: [first = {}] }) => (first['key_type'] = 'toString')],
    [/issuing\[0\]: key_id/, ({ issuing: [first = {}] }) => (first['key_id'] = null)],
    [/issuing\[0\]: chain/, ({ issuing: [first = {}] }) => (first['chain'] = [])],
    [/not base64/, ({ roots: [first = {}] }) => (first['certificate'] = '%%%')],
    [/cannot be read/, ({ roots: [first = {}] }) => (first['certificate'] = 'AAAA')],
    [/tainted is neither/, ({ roots: [first = {}] }) => (first['tainted'] = 0)],
    [/roots\[0\]/, (document) => (document.roots = [null as never])],
    [/root .* is missing/, (document) => document.roots.shift()],
    [/two issuing CAs are active/, (document) => (prepared(document)['state'] = 'active')],
    [/two issuing CAs are prepared/, (document) => (active(document)['state'] = 'prepared')],
    [/two roots are active/, ({ roots }) => roots.forEach((root) => (root['state'] = 'active'))],
    [
      /two roots of this node/,
      ({ roots }) => roots.forEach((root) => (root['state'] = 'prepared')),
    ],
    [/a root appears twice/, ({ roots }) => roots.push(roots[0] ?? {})],
    [/tainted is active/, (document) => (active(document)['tainted'] = true)],
    [/revoked and not tainted/, (document) => (old(document)['tainted'] = false)],
    [/did not sign|chain ends/, (document) => swap(document)],
  ];
  function swap(document: Document): void {
    const [first, second] = document.roots;
    // The CAs say they hang on the root that did not sign them.
    const print = createHash('sha256')
      .update(Buffer.from(String(second?.['certificate']), 'base64'))
      .digest('hex');
    assert.ok(first);
    for (const ca of document.issuing) ca['root'] = print;
  }
  for (const [what, change] of faults) {
    it(`is refused for: ${what.source}`, () => {
      assert.throws(() => parseJournal(changed(change), PATH), {
        code: 'ERR_KEY_STORE',
        message: what,
      });
    });
  }

  it('is refused for its digest before anything else is believed', () => {
    const text = changed((document) => (document['bundle_sequence'] = 1), false);
    assert.throws(() => parseJournal(text, PATH), { message: /digest does not fit/ });
  });

  it('ends any JSON and any text with a state or ERR_KEY_STORE', () => {
    const keys = fc.constantFrom('version', 'trust_domain', 'bundle_sequence', 'roots', 'issuing');
    const values = fc.oneof(fc.jsonValue(), fc.constantFrom(1, 2, 'root'));
    const json = fc.dictionary(keys, values).map((value) => JSON.stringify(value));
    const signed = fc
      .dictionary(keys, values)
      .map((more) => changed((document) => void Object.assign(document, more)));
    fc.assert(
      fc.property(fc.oneof(fc.string(), json, signed), (text) => {
        try {
          parseJournal(text, PATH);
        } catch (thrown) {
          assert.ok(thrown instanceof IdentityError && thrown.code === 'ERR_KEY_STORE');
        }
      }),
    );
  });
});

describe('a journal of version 1', () => {
  const pair = { root: STATE.roots[0], ca: STATE.issuing.find((ca) => ca.state === 'active') };
  const authority = (role: string, key: { id: string; type: string }, der: Buffer) => ({
    ...{ role, state: 'active', key_id: key.id, key_type: key.type },
    certificate: der.toString('base64'),
  });
  function version1(change: (authorities: Item[]) => void = () => undefined): string {
    const { root, ca } = pair;
    assert.ok(root?.key && ca);
    const authorities = [
      authority('root', root.key, root.certificate.der),
      authority('issuing', ca.key, ca.chain[0].der),
    ];
    change(authorities);
    const header = { version: 1, trust_domain: 'example.org', bundle_sequence: 7 };
    return JSON.stringify({ ...header, authorities });
  }

  it('is continued with: the same root and CA, both in use, nothing newer', () => {
    const state = parseJournal(version1(), PATH);
    assert.equal(state.bundleSequence, 7);
    assert.deepEqual(
      state.roots.map(({ state: slot, key }) => [slot, key]),
      [['active', pair.root?.key]],
    );
    assert.deepEqual(
      state.issuing.map(({ state: slot, upstream }) => [slot, upstream]),
      [['active', 'self_signed']],
    );
    // No SVID has lived longer than its CA.
    assert.ok(state.longestTtlMs >= 86_400_000);
  });

  const faults: readonly [RegExp, (authorities: Item[]) => void][] = [
    [/role is unknown/, ([first = {}]) => (first['role'] = 'leaf')],
    [/state is unknown/, ([first = {}]) => (first['state'] = 'old')],
    [/root is missing/, (authorities) => authorities.shift()],
    [/role appears twice/, (authorities) => authorities.push(authorities[0] ?? {})],
    [
      /signed by another/,
      ([first = {}, second = {}]) => (first['certificate'] = second['certificate']),
    ],
  ];
  for (const [what, change] of faults) {
    it(`is refused for: ${what.source}`, () => {
      assert.throws(() => parseJournal(version1(change), PATH), {
        code: 'ERR_KEY_STORE',
        message: what,
      });
    });
  }
});
