import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { caText } from './ca-text.ts';
import { parseCa } from './ca-view.ts';

const NOW = Date.parse('2026-01-02T03:00:00Z');
const MINUTE = 60_000;
const at = (minutes: number) => new Date(NOW + minutes * MINUTE).toISOString();
const ID = '0123456789abcdef0123456789abcdef01234567';

const shown = (document: unknown) => caText(parseCa(document), NOW);
const authority = (more: object) => ({
  level: 'issuing',
  slot: 'active',
  id: ID,
  subject: 'O=example.org, CN=Credence issuing CA',
  not_after: at(90),
  kept_until: null,
  tainted: false,
  revoked: false,
  next_step: null,
  next_step_at: null,
  waits_until: null,
  ...more,
});
const documentOf = (authorities: readonly object[], more: object = {}) => ({
  trust_domain: 'example.org',
  bundle_sequence: 3,
  bundle_readers: { readers: 40, behind: 0 },
  not_by_hand: null,
  authorities,
  upstream: null,
  ...more,
});

describe('caText()', () => {
  it('is a table of authorities, with what comes next for each', () => {
    const text = shown(
      documentOf([
        authority({ level: 'root', slot: 'active', next_step: 'prepare', next_step_at: at(600) }),
        authority({ level: 'root', slot: 'old', kept_until: at(30), tainted: true, revoked: true }),
        authority({ next_step: 'prepare', next_step_at: at(30) }),
        authority({ slot: 'old', not_after: at(-1), kept_until: at(0), tainted: true }),
      ]),
    );
    assert.equal(
      text,
      [
        'trust domain example.org, bundle sequence 3',
        'LEVEL    SLOT                   ID            ENDS       NEXT            SUBJECT',
        'root     active                 0123456789ab  in 1h 30m  prepare in 10h  O=example.org, CN=Credence issuing CA',
        'root     old, TAINTED, REVOKED  0123456789ab  in 1h 30m  goes in 30m     O=example.org, CN=Credence issuing CA',
        'issuing  active                 0123456789ab  in 1h 30m  prepare in 30m  O=example.org, CN=Credence issuing CA',
        'issuing  old, TAINTED           0123456789ab  1m AGO     goes            O=example.org, CN=Credence issuing CA',
        'bundle: acknowledged by all of 40 proxies',
        '',
      ].join('\n'),
    );
  });

  it('says whom an authority waits for that is due, and for how long', () => {
    const waiting = authority({
      slot: 'prepared',
      next_step: 'activate',
      next_step_at: at(-1),
      waits_until: at(4),
    });
    const bundle_readers = { readers: 40, behind: 2 };
    const text = shown(documentOf([waiting], { bundle_readers }));
    assert.match(text, / activate waits for 2 of 40 proxies, at most 4m /);
    assert.match(text, /^bundle: 2 of 40 proxies have not acknowledged it$/m);
    const late = { ...waiting, waits_until: at(-1) };
    assert.match(shown(documentOf([late], { bundle_readers })), / activate DUE /);
    const one = documentOf([], { bundle_readers: { readers: 1, behind: 1 } });
    assert.match(shown(one), /^there is none yet\nbundle: 1 of 1 proxy has not acknowledged it$/m);
  });

  it('says how the upstream is, and that nothing can be done by hand', () => {
    const upstream = {
      name: 'vault https://vault.example:8200/pki',
      good_at: at(-60),
      last_error: null,
      last_error_at: null,
      next_try_at: null,
    };
    assert.match(shown(documentOf([], { upstream })), /^upstream: vault \S+pki, good 1h ago$/m);
    const failing = {
      ...upstream,
      last_error: 'it is\nsealed',
      last_error_at: at(-1),
      next_try_at: at(1),
    };
    const text = shown(documentOf([], { upstream: failing, not_by_hand: 'it comes from files' }));
    assert.match(text, /^ {2}FAILED 1m ago, next try in 1m: it is\\u000asealed$/m);
    assert.match(text, /^by hand: nothing, it comes from files$/m);
  });

  it('makes something of every document, a line of each text', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.array(fc.jsonValue()), (value, values) => {
        for (const document of [
          { authorities: values, upstream: value, bundle_readers: value },
          { authorities: [{ slot: value, id: value, subject: value, next_step: value }] },
          { authorities: [], upstream: { name: value, last_error: value } },
        ]) {
          assert.match(shown(document), /^trust domain \?, bundle not known yet\n(?:.*\n)+$/);
        }
      }),
    );
    assert.throws(() => parseCa({ authorities: 1 }), { code: 'ERR_UNREACHABLE' });
  });
});
