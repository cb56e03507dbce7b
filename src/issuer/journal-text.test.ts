import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { IdentityError } from '../core/errors.ts';
import { formatJournal, parseJournal, type JournalState } from './journal-text.ts';

const PATH = '/data/journal.json';
const STATE: JournalState = {
  trustDomain: 'example.org',
  bundleSequence: 7,
  authorities: [
    {
      role: 'root',
      state: 'active',
      keyId: '0a'.repeat(20),
      keyType: 'ec-p256',
      certificate: Buffer.from('root'),
    },
    {
      role: 'issuing',
      state: 'active',
      keyId: '0b'.repeat(20),
      keyType: 'rsa-4096',
      certificate: Buffer.from('issuing'),
    },
  ],
};

/** The journal's document with something changed. */
function changed(
  change: (document: Record<string, unknown>, first: Record<string, unknown>) => void,
) {
  const document = JSON.parse(formatJournal(STATE)) as Record<string, unknown>;
  const [first] = document['authorities'] as Record<string, unknown>[];
  change(document, first ?? {});
  return JSON.stringify(document);
}

describe('the journal', () => {
  it('reads back what it wrote', () => {
    assert.deepEqual(parseJournal(formatJournal(STATE), PATH), STATE);
    const empty = { ...STATE, authorities: [] };
    assert.deepEqual(parseJournal(formatJournal(empty), PATH), empty);
  });

  it('is refused when cut anywhere, with its name and what to do', () => {
    const text = formatJournal(STATE).trimEnd();
    for (let length = 0; length < text.length; length++) {
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

  it('says to start the newer credence when the version is newer', () => {
    const text = changed((document) => (document['version'] = 2));
    assert.throws(() => parseJournal(text, PATH), { message: /version 2.*up to 1/, hint: /newer/ });
  });

  it('ignores a field it does not know', () => {
    const text = changed((document) => (document['later'] = { a: 1 }));
    assert.deepEqual(parseJournal(text, PATH), STATE);
  });

  const faults: readonly [string, Parameters<typeof changed>[0]][] = [
    ['no version', (document) => delete document['version']],
    ['version', (document) => (document['version'] = '1')],
    ['trust_domain', (document) => (document['trust_domain'] = 1)],
    ['bundle_sequence', (document) => (document['bundle_sequence'] = 1.5)],
    ['authorities', (document) => (document['authorities'] = {})],
    ['authorities\\[0\\]: role', (_, first) => (first['role'] = 'leaf')],
    ['authorities\\[0\\]: state', (_, first) => (first['state'] = 'old')],
    ['authorities\\[0\\]: key_id', (_, first) => (first['key_id'] = '../../etc/shadow')],
    ['authorities\\[0\\]: key_type', (_, first) => (first['key_type'] = 'toString')],
    ['authorities\\[0\\]: certificate', (_, first) => (first['certificate'] = null)],
    ['not base64', (_, first) => (first['certificate'] = '%%%')],
    ['root is missing', (document) => (document['authorities'] as unknown[]).shift()],
    ['role appears twice', (_, first) => (first['role'] = 'issuing')],
    ['authorities\\[0\\]', (document) => (document['authorities'] = [null])],
  ];
  for (const [what, change] of faults) {
    it(`is refused for: ${what}`, () => {
      const expected = { code: 'ERR_KEY_STORE', message: new RegExp(what.replace('no ', '')) };
      assert.throws(() => parseJournal(changed(change), PATH), expected);
    });
  }

  it('ends any JSON and any text with a state or ERR_KEY_STORE', () => {
    const keys = fc.constantFrom(
      'version',
      'trust_domain',
      'bundle_sequence',
      'authorities',
      'role',
    );
    const values = fc.oneof(fc.jsonValue(), fc.constant(1), fc.constant('root'));
    const json = fc.dictionary(keys, values).map((value) => JSON.stringify(value));
    fc.assert(
      fc.property(fc.oneof(fc.string(), json), (text) => {
        try {
          parseJournal(text, PATH);
        } catch (thrown) {
          assert.ok(thrown instanceof IdentityError && thrown.code === 'ERR_KEY_STORE');
        }
      }),
    );
  });
});
