import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compareCerts } from './compare-certs.ts';
import { comparisonDocument, comparisonText } from './comparison-text.ts';
import { parseCerts } from './envoy-admin.ts';
import { parseStatus, type ProxyView } from './status-view.ts';

const NOW = Date.parse('2026-01-02T03:00:00Z');
const END = '2026-01-02T04:00:00.000Z';
const WEB = 'spiffe://example.org/web';
const API = 'spiffe://example.org/api';

const sent = (spiffe_id: string, serial: string, more: object = {}) => ({
  ...{
    name: spiffe_id,
    state: 'accepted',
    sent: 'v2',
    acknowledged: 'v2',
    sent_at: '2026-01-02T02:59:50Z',
  },
  ...{ spiffe_id, serial, not_after: END, ...more },
});

function proxies(...all: { pid: number; secrets: readonly object[] }[]): readonly ProxyView[] {
  const document = {
    authorities: [],
    proxies: all.map(({ pid, secrets }) => ({ pid, node_id: `n${pid}`, streams: [{ secrets }] })),
  };
  return parseStatus(document).proxies;
}

const ROOTS = { name: 'ROOTCA', state: 'accepted', sent: 'v1', acknowledged: 'v1' };

const leaf = (uri: string, serial_number: string, expiration_time = '2026-01-02T04:00:00Z') => ({
  serial_number,
  subject_alt_names: [{ uri }],
  expiration_time,
});
const context = (...cert_chain: object[]) => ({ cert_chain, ca_cert: [{}] });
const certs = (...certificates: object[]) => parseCerts({ certificates });

const shown = (...of: Parameters<typeof compareCerts>) =>
  comparisonText(compareCerts(...of), '127.0.0.1:9901', NOW)
    .split('\n')
    .slice(0, -1);

describe('compareCerts()', () => {
  it('finds that Envoy uses what it was sent, however the numbers are written', () => {
    const view = proxies({ pid: 42, secrets: [sent(WEB, '0ab'), sent(WEB, '0ab'), ROOTS] });
    assert.deepEqual(
      shown(view, certs(context(leaf(WEB, 'AB')), context(leaf(WEB, '00ab'))), undefined),
      [
        'Envoy at 127.0.0.1:9901 is pid 42, node n42',
        `  ${WEB}: in sync, serial ab until 2026-01-02T04:00:00Z (1h left)`,
        'in sync: Envoy uses what it was sent',
      ],
    );
  });

  it('says which serial Envoy still has, until when, and what became of the new one', () => {
    const old = leaf(WEB, 'aa', '2026-01-02T03:30:00Z');
    const refused = { version: 'v2', text: 'no such curve' };
    for (const [more, state] of [
      [{ state: 'unanswered' }, 'v2 sent 10s ago, not answered yet'],
      [
        { state: 'refused', in_use: { version: 'v1' }, refused },
        'v2 REFUSED, v1 stays in use: "no such curve"',
      ],
      [{}, 'v2 accepted'],
    ] as const) {
      const view = proxies({ pid: 42, secrets: [sent(WEB, 'bb', more)] });
      assert.deepEqual(shown(view, certs(context(old)), undefined).slice(1), [
        `  ${WEB}: DIFFERS, Envoy still has serial aa until 2026-01-02T03:30:00Z (30m left)`,
        `    it was sent serial bb until 2026-01-02T04:00:00Z (1h left): ${state}`,
        'NOT in sync',
      ]);
    }
  });

  it('notices one TLS context of several that has the old one, and one that has expired', () => {
    const view = proxies({ pid: 42, secrets: [sent(WEB, 'bb')] });
    const old = leaf(WEB, 'aa', '2025-12-30T03:00:00Z');
    const [, line] = shown(view, certs(context(leaf(WEB, 'bb')), context(old)), undefined);
    assert.ok(line?.endsWith(' and serial aa, EXPIRED since 2025-12-30T03:00:00Z'), line);
    assert.match(line ?? '', /: DIFFERS, /);
  });

  it('notices another end of the same serial', () => {
    const view = proxies({ pid: 42, secrets: [sent(WEB, 'bb')] });
    const other = certs(context(leaf(WEB, 'bb', '2026-01-02T04:00:01Z')));
    assert.equal(compareCerts(view, other, undefined).inSync, false);
    const none = certs(context(leaf(WEB, 'bb', 'never')));
    assert.equal(compareCerts(view, none, undefined).inSync, false);
  });

  it('says what Envoy does not have at all', () => {
    const view = proxies({ pid: 42, secrets: [sent(WEB, 'aa'), sent(API, 'bb')] });
    const text = shown(view, certs(context(leaf(WEB, 'aa'))), undefined).join('\n');
    assert.match(text, /^ {2}\S+\/web: in sync, /m);
    assert.match(text, /^ {2}\S+\/api: NOT FOUND in \/certs: /m);
    assert.match(text, /^NOT in sync$/m);
  });

  it('raises an alarm for a TLS context without roots when it was sent roots', () => {
    const view = proxies({ pid: 42, secrets: [sent(WEB, 'aa'), ROOTS] });
    const bare = { cert_chain: [leaf(WEB, 'aa')], ca_cert: [] };
    const foreign = { cert_chain: [leaf('spiffe://other/a', 'cc')] };
    const text = shown(view, certs(bare, bare, foreign), undefined);
    assert.match(text[2] ?? '', /^ {2}ALARM spiffe:\/\/example\.org\/web: ca_cert is empty, /);
    assert.equal(text[3], 'NOT in sync');
  });

  it('only notes it when it was sent none: one-way TLS is meant', () => {
    const view = proxies({ pid: 42, secrets: [sent(WEB, 'aa')] });
    const bare = { cert_chain: [leaf(WEB, 'aa')], ca_cert: [] };
    const text = shown(view, certs(bare, { cert_chain: [], ca_cert: [] }), undefined);
    assert.match(text[2] ?? '', /^ {2}note: spiffe:\/\/example\.org\/web: ca_cert is empty and /);
    assert.equal(text[3], 'in sync: Envoy uses what it was sent');
  });

  it('counts TLS contexts with neither certificate nor roots when it was sent roots', () => {
    const view = proxies({ pid: 42, secrets: [sent(WEB, 'aa'), ROOTS] });
    const all = certs(context(leaf(WEB, 'aa')), { cert_chain: [], ca_cert: [] });
    assert.deepEqual(shown(view, all, undefined).slice(2), [
      '  ALARM 1 TLS context without certificate: ca_cert is empty',
      'NOT in sync',
    ]);
  });

  it('claims nothing of an Envoy that lists no certificate', () => {
    const view = proxies({ pid: 42, secrets: [sent(WEB, 'aa')] });
    for (const pid of [42, undefined]) {
      for (const none of [certs(), certs(context())]) {
        assert.throws(() => compareCerts(view, none, pid), {
          code: 'ERR_DENIED',
          message: /^this Envoy's \/certs lists no certificate: fetched on demand /,
        });
      }
    }
  });

  it('says that Envoy still has what was withdrawn, until when, and when it has it no more', () => {
    const in_use = { version: 'v1', spiffe_id: WEB, serial: 'aa', not_after: END };
    const gone = { name: WEB, state: 'withdrawn', sent: null, serial: null, in_use };
    const view = proxies({ pid: 42, secrets: [gone] });
    for (const pid of [42, undefined]) {
      assert.deepEqual(shown(view, certs(context(leaf(WEB, 'aa'))), pid).slice(1), [
        `  ${WEB}: WITHDRAWN, Envoy still has serial aa until 2026-01-02T04:00:00Z (1h left)`,
        'NOT in sync',
      ]);
    }
    assert.deepEqual(shown(view, certs(context(leaf(API, 'bb'))), 42).slice(1), [
      `  ${WEB}: withdrawn, and Envoy has it no more`,
      'in sync: Envoy uses what it was sent',
    ]);
  });

  it('knows the proxy by a serial, else by the SPIFFE IDs, or by the pid that is named', () => {
    const two = proxies(
      { pid: 1, secrets: [sent(WEB, 'aa')] },
      { pid: 2, secrets: [sent(WEB, 'bb')] },
      { pid: 3, secrets: [sent(API, 'cc')] },
    );
    const pidOf = (contexts: ReturnType<typeof certs>, pid?: number) =>
      compareCerts(two, contexts, pid).pid;
    assert.equal(pidOf(certs(context(leaf(WEB, 'bb')))), 2);
    assert.equal(pidOf(certs(context(leaf(API, 'dd')))), 3);
    const unknown = certs(context(leaf(WEB, 'dd')));
    assert.equal(pidOf(unknown, 2), 2);
    assert.throws(() => pidOf(unknown), { code: 'ERR_USAGE', hint: '--pid N names it: 1, 2' });
    assert.throws(() => pidOf(certs(context(leaf('spiffe://other/a', 'aa0')))), {
      code: 'ERR_DENIED',
      message: /^no connected proxy was sent a certificate/,
    });
    assert.throws(() => pidOf(unknown, 4), { message: /pid 4 is not connected$/ });
  });

  it('takes the connections of one process together', () => {
    const view = proxies(
      { pid: 1, secrets: [sent(WEB, 'aa')] },
      { pid: 1, secrets: [sent(API, 'bb')] },
    );
    const both = certs(context(leaf(WEB, 'aa')), context(leaf(API, 'bb')));
    assert.equal(compareCerts(view, both, undefined).pairings.length, 2);
    assert.equal(compareCerts(view, both, undefined).inSync, true);
  });

  it('writes the same for programs', () => {
    const view = proxies({ pid: 42, secrets: [sent(WEB, 'aa')] });
    const comparison = compareCerts(view, certs(context(leaf(WEB, 'aa'))), undefined);
    const end = { serial: 'aa', not_after: END };
    assert.deepEqual(comparisonDocument(comparison, 'x:1'), {
      address: 'x:1',
      pid: 42,
      node_id: 'n42',
      in_sync: true,
      certificates: [{ spiffe_id: WEB, verdict: 'in_sync', sent: [end], in_use: [end] }],
      without_roots: [],
      empty_roots: [],
      contexts_without_anything: 0,
      sent_roots: false,
    });
  });

  it('lets no Envoy steer the terminal or add a line', () => {
    const hostile = `${WEB}\x1b[2J\nin sync\u202e`;
    const view = proxies({ pid: 42, secrets: [sent(hostile, 'bb')] });
    const text = shown(view, certs(context(leaf(hostile, 'aa\x1b\n'))), undefined);
    assert.doesNotMatch(text.join(''), /[^\x20-\x7e]/);
    assert.equal(text.length, 4);
  });
});
