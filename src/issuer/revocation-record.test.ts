import assert from 'node:assert/strict';
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { OWN, PARTNER, WEB } from '../../test/support/identities.ts';
import { temporaryFolder } from '../../test/support/issuer.ts';
import { IdentityError } from '../core/errors.ts';
import {
  createDiskRevocations,
  createMemoryRevocations,
  openRevocationRecord,
} from './revocation-record.ts';
import { formatRevocations, parseRevocations, type Revocation } from './revocation-text.ts';

const ONE: Revocation = {
  serial: '4f0a',
  issuerKeyId: 'ab'.repeat(20),
  spiffeId: WEB,
  reason: 'keyCompromise',
  revokedAtMs: 1000,
  notAfterMs: 2000,
};
const STATE = { trustDomain: 'example.org', nextNumber: 7, revoked: [ONE] };

describe('the text of revocations', () => {
  it('says what it was given', () => {
    const unknown = { ...ONE, spiffeId: undefined };
    const state = { ...STATE, revoked: [ONE, unknown] };
    assert.deepEqual(parseRevocations(formatRevocations(state), 'r.json'), state);
  });

  const text = formatRevocations(STATE);
  const refused: readonly (readonly [string, string, RegExp])[] = [
    ['is empty', '', /r\.json: it is empty/],
    ['is cut short', text.slice(0, -20), /cut short/],
    ['is another document', '[]', /no known version/],
    ['is of a newer version', text.replace('"version": 1', '"version": 2'), /knows up to 1/],
    ['has another serial than it had', text.replace('4f0a', '4f0b'), /edited/],
    ['lost an entry', text.replace(/"revoked": \[[^]*?\]/, '"revoked": []'), /edited/],
    ['lost its digest', text.replace(/,\s*"digest": "[0-9a-f]+"/, ''), /edited/],
  ];
  for (const [what, changed, why] of refused) {
    it(`is refused when it ${what}`, () => {
      assert.notEqual(changed, text);
      assert.throws(() => parseRevocations(changed, 'r.json'), {
        code: 'ERR_KEY_STORE',
        message: why,
      });
    });
  }

  it('is refused with parts that this version does not write, whatever the digest says', () => {
    const wrong: Partial<Record<keyof Revocation, unknown>>[] = [
      { serial: '4F0A' },
      { serial: '' },
      { issuerKeyId: 'xy' },
      { spiffeId: 'web' },
      { reason: 'certificateHold' },
      { revokedAtMs: -1 },
      { notAfterMs: 0.5 },
    ];
    for (const change of wrong) {
      const forged = formatRevocations({
        ...STATE,
        revoked: [{ ...ONE, ...change } as Revocation],
      });
      assert.throws(() => parseRevocations(forged, 'r.json'), {
        code: 'ERR_KEY_STORE',
        message: /revoked\[0\]/,
      });
    }
    const many = formatRevocations({ ...STATE, revoked: Array<Revocation>(1001).fill(ONE) });
    assert.throws(() => parseRevocations(many, 'r.json'), { code: 'ERR_KEY_STORE' });
  });

  it('is read or refused, whatever is changed in it', () => {
    const json = fc.json();
    const changed = fc
      .tuple(fc.nat(text.length - 1), fc.string({ maxLength: 3 }))
      .map(([at, part]) => text.slice(0, at) + part + text.slice(at + part.length));
    fc.assert(
      fc.property(fc.oneof(json, changed), (other) => {
        try {
          assert.deepEqual(parseRevocations(other, 'r.json'), STATE);
        } catch (thrown) {
          assert.ok(thrown instanceof IdentityError && thrown.code === 'ERR_KEY_STORE', other);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('openRevocationRecord()', () => {
  it('never gives a number twice, not over a restart either', () => {
    const store = createMemoryRevocations();
    const numbers: number[] = [];
    for (let start = 0; start < 4; start++) {
      const record = openRevocationRecord(store, OWN);
      assert.ok(record.number >= (numbers.at(-1) ?? 0));
      for (let n = 0; n < 300; n++) numbers.push(record.next());
    }
    assert.ok(numbers.every((number, n) => number > (numbers[n - 1] ?? 0)));
  });

  it('gives numbers for a while when the disk is full, and then says so', () => {
    let isFull = false;
    let writes = 0;
    const memory = createMemoryRevocations();
    const full = new IdentityError('ERR_DISK', 'no space left');
    const record = openRevocationRecord(
      {
        ...memory,
        write(state) {
          writes++;
          if (isFull) throw full;
          memory.write(state);
        },
      },
      OWN,
    );
    record.next();
    assert.equal(writes, 1);
    isFull = true;
    for (let n = 0; n < 200; n++) record.next();
    assert.equal(writes, 1);
    assert.throws(() => record.replace([ONE]), full);
    assert.deepEqual(record.revoked(), []);
    assert.throws(() => {
      for (;;) record.next();
    }, full);
  });

  it('keeps a private file, and refuses one that others may read', (t) => {
    const folder = temporaryFolder(t);
    const open = () => openRevocationRecord(createDiskRevocations(folder), OWN);
    open().replace([ONE]);
    const path = join(folder, 'revocations.json');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual(open().revoked(), [ONE]);
    chmodSync(path, 0o644);
    assert.throws(open, { code: 'ERR_KEY_STORE', message: /mode 0644/ });
    chmodSync(path, 0o600);
    writeFileSync(path, readFileSync(path, 'utf8').replace('4f0a', '4f0b'));
    assert.throws(open, { code: 'ERR_KEY_STORE', message: /edited/ });
  });

  it('writes nothing before anything is revoked', (t) => {
    const folder = temporaryFolder(t);
    openRevocationRecord(createDiskRevocations(folder), OWN);
    assert.throws(() => statSync(join(folder, 'revocations.json')), { code: 'ENOENT' });
  });

  it('is of one trust domain', () => {
    const store = createMemoryRevocations();
    openRevocationRecord(store, OWN).replace([ONE]);
    assert.throws(() => openRevocationRecord(store, PARTNER), {
      code: 'ERR_KEY_STORE',
      message: /belongs to the trust domain example.org/,
    });
  });
});
