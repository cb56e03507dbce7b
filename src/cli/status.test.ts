import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { credence } from '../../test/support/transcript.ts';
import type { Terminal } from './command.ts';
import { parseStatus } from './status-view.ts';
import { statusText } from './status-text.ts';
import { status } from './status.ts';

const NOW = Date.parse('2026-01-02T03:00:00Z');

function secret(overrides: object = {}): object {
  return {
    name: 'default',
    state: 'accepted',
    sent: '0123456789abcdef',
    acknowledged: '0123456789abcdef',
    refused: null,
    sent_at: '2026-01-02T02:59:55Z',
    spiffe_id: 'spiffe://example.org/web',
    serial: 'ab',
    not_after: '2026-01-02T04:00:00Z',
    next_rotation: '2026-01-02T03:30:00Z',
    in_use: {
      version: '0123456789abcdef',
      spiffe_id: 'spiffe://example.org/web',
      serial: 'ab',
      not_after: '2026-01-02T04:00:00Z',
    },
    ...overrides,
  };
}

/** The document at `/status`. */
function view(secrets: readonly object[], waiting: readonly string[] = []) {
  return {
    version: '1.2.3',
    node_name: 'n1',
    trust_domain: 'example.org',
    not_ready: [] as string[],
    policy: {
      entries: 2,
      revision: 'c0ffee',
      loaded_at: '2026-01-02T02:55:00Z',
      last_error: null as string | null,
    },
    authorities: [{ slot: 'active', not_after: '2026-01-03T03:00:00Z' }],
    rotation: { held_svids: 3, due_svids: 1, earliest_not_after: '2026-01-02T03:20:00Z' },
    proxies: [
      {
        pid: 42,
        uid: 1000,
        node_id: 'web',
        envoy_version: '1.40.0',
        streams: [{ waiting, secrets }],
      },
    ],
  };
}

const CHECK = 'credence check --config /etc/c.yaml';
const shown = (document: unknown) => statusText(parseStatus(document), NOW, CHECK);

describe('statusText()', () => {
  it('says where the issuing CA comes from, and that its files are refused as they are', () => {
    const upstream = {
      cert_file: '/ca/tls.crt',
      loaded_at: '2026-01-02T02:00:00Z',
      last_error: 'cannot use /ca/tls.key: no',
    };
    const text = shown({ ...view([]), upstream });
    assert.match(text, /^upstream: \/ca\/tls\.crt, good 1h ago$/m);
    assert.match(text, /^ {2}the last change was REFUSED: cannot use \/ca\/tls\.key: no$/m);
    assert.doesNotMatch(shown(view([])), /upstream/);
  });

  it('says whom attestors cannot ask, and when those who tell of pods were last heard', () => {
    const asked = (more: object) => ({
      ...{ attestor: 'systemd', who: 'systemd', at: '/run/bus' },
      ...{ heard_at: null, failing_since: null, reason: null, ...more },
    });
    const failing = { failing_since: '2026-01-02T02:55:00Z', reason: 'there is no such socket' };
    const server = { attestor: 'kubernetes', who: 'the API server', at: '10.0.0.1:443' };
    const heard = { ...server, heard_at: '2026-01-02T02:58:00Z' };
    const text = (...all: object[]) => shown({ ...view([]), asked: all });
    assert.match(
      text(asked(failing)),
      /^systemd at \/run\/bus CANNOT BE ASKED for 5m: there is no such socket$/m,
    );
    assert.doesNotMatch(text(asked({})), /systemd/);
    assert.match(text(asked(heard)), /^the API server at 10\.0\.0\.1:443: last heard 2m ago$/m);
    assert.match(text(asked(server)), /^the API server at 10\.0\.0\.1:443: not heard yet$/m);
    assert.match(
      text(asked({ ...heard, ...failing, reason: 'refused' })),
      /^the API server at 10\.0\.0\.1:443 CANNOT BE ASKED for 5m, last heard 2m ago: refused$/m,
    );
  });

  it('shows each proxy with what it accepted and when that ends', () => {
    assert.equal(
      shown(view([secret()], ['spiffe://example.org/db is being signed'])),
      [
        'credence 1.2.3 on n1, trust domain example.org, ready',
        'policy: 2 entries, revision c0ffee, loaded 5m ago',
        'authority active: 1d left',
        'SVIDs: 3 held, 1 overdue for renewal, the first expires in 20m',
        'next rotation: in 30m (pid 42, default)',
        'proxies: 1',
        '',
        'pid 42 uid 1000, node web, Envoy 1.40.0',
        '  default: 0123456789ab accepted, serial ab, expires in 1h, rotates in 30m',
        '  waiting: spiffe://example.org/db is being signed',
        '',
      ].join('\n'),
    );
  });

  it('tells refused from unanswered from not sent', () => {
    const refused = { version: 'fedcba9876543210', text: 'no such curve' };
    const unanswered_since = '2026-01-02T02:59:30Z';
    const text = shown(
      view([
        secret({ name: 'a', state: 'refused', refused, serial: 'cd', not_after: null }),
        secret({ name: 'b', state: 'refused', refused, in_use: null, next_rotation: null }),
        secret({ name: 'c', state: 'unanswered', unanswered_since, serial: 'cd' }),
        secret({ name: 'd', state: 'none', sent: null, in_use: null, next_rotation: null }),
        secret({ name: 'e', state: 'absent', sent: null, in_use: null, next_rotation: null }),
        secret({ name: 'f', state: 'withdrawn', sent: null, serial: null }),
        secret({ name: 'g', state: 'unanswered', in_use: null, next_rotation: null }),
      ]),
    );
    assert.match(
      text,
      /^ {2}a: fedcba987654 REFUSED, 0123456789ab stays in use: "no such curve", serial ab, expires in 1h, /m,
    );
    assert.match(text, /^ {2}b: fedcba987654 REFUSED, nothing is in use: "no such curve"$/m);
    assert.match(
      text,
      /^ {2}c: 0123456789ab sent 5s ago, no answer for 30s, 0123456789ab in use until 2026-01-02T04:00:00Z, serial ab, expires in 1h, rotates in 30m$/m,
    );
    assert.match(text, /^oldest push without an answer: 30s \(pid 42, c\)$/m);
    assert.match(text, /^ {2}d: - not sent yet$/m);
    assert.match(text, /^ {2}e: - DENIED, the proxy was told so$/m);
    assert.match(
      text,
      /^ {2}f: WITHDRAWN, but the proxy keeps 0123456789ab in use until 2026-01-02T04:00:00Z, serial ab, expires in 1h$/m,
    );
    assert.match(text, /^ {2}g: 0123456789ab sent 5s ago, not answered yet, nothing in use$/m);
  });

  it('says that what is in use has expired, and a refusal that is waited for only once', () => {
    const old = { version: 'v1', serial: 'aa', not_after: '2026-01-02T02:59:00Z' };
    const document = view([secret({ state: 'unanswered', in_use: old })], ['no entry']);
    const refusals = [{ name: 'b', reason: 'no entry', at: '2026-01-02T02:59:57Z' }];
    const proxies = document.proxies.map((proxy) => ({ ...proxy, refusals }));
    const text = shown({ ...document, proxies });
    assert.match(text, /, serial aa, EXPIRED 1m ago, /);
    assert.match(text, /^ {2}waiting: no entry$/m);
    assert.doesNotMatch(text, /refused 3s ago/);
  });

  it('doubts a certificate that is asked for twice by who asks for no roots', () => {
    const of = (...secrets: object[]) => {
      const document = view([]);
      const streams = secrets.map((one) => ({ kind: 'sotw', secrets: [one] }));
      return shown({
        ...document,
        proxies: document.proxies.map((proxy) => ({ ...proxy, streams })),
      });
    };
    const roots = { ...secret({}), name: 'ROOTCA', serial: null };
    const doubt = /^ {2}\S+ is asked for more than once and no roots are: .* verifies NOBODY/m;
    assert.match(of(secret({}), secret({})), doubt);
    assert.doesNotMatch(of(secret({})), doubt);
    assert.doesNotMatch(of(secret({}), secret({}), roots), doubt);
  });

  it('says how long ago an authority and the first SVID expired', () => {
    const text = shown({
      ...view([]),
      authorities: [{ slot: 'active', not_after: '2026-01-02T02:59:51Z' }],
      rotation: { held_svids: 1, due_svids: 1, earliest_not_after: '2026-01-02T02:59:45Z' },
    });
    assert.match(text, /^authority active: expired 9s ago$/m);
    assert.match(text, /, the first expired 15s ago$/m);
  });

  it('shows names that were refused at once, how many are left out, and the protocols', () => {
    const document = view([]);
    const refusals = [
      { name: 'web', reason: 'web is not a name that credence serves', at: '2026-01-02T02:59:57Z' },
    ];
    const streams = [
      { kind: 'sotw', secrets: [] },
      { kind: 'delta', secrets: [], absent_not_shown: 12 },
      { kind: 'sotw', secrets: [] },
    ];
    const proxies = document.proxies.map((proxy) => ({ ...proxy, refusals, streams }));
    assert.match(
      shown({ ...document, proxies }),
      /^pid 42 .*, Envoy 1\.40\.0, 2 sotw, 1 delta\n {2}and 12 more that were DENIED\n {2}refused 3s ago: web is not a name that credence serves$/m,
    );
  });

  it('shows a refused change of the policy and why it is not ready', () => {
    const document = view([]);
    document.not_ready.push('starting');
    document.policy.last_error = 'p.yaml:1:1: no';
    assert.match(shown(document), /not ready: starting$/m);
    assert.match(shown(document), /^ {2}the last change was REFUSED: p\.yaml:1:1: no$/m);
  });

  it('counts one entry as one', () => {
    const text = shown({ ...view([]), policy: { entries: 1 } });
    assert.match(text, /^policy: 1 entry$/m);
  });

  it('counts the warnings of the policy, and says nothing of none', () => {
    const policyOf = (warnings: number) => shown({ ...view([]), policy: { entries: 2, warnings } });
    assert.match(
      policyOf(2),
      /^policy: 2 entries\n {2}2 warnings, see credence check --config \/etc\/c\.yaml$/m,
    );
    assert.match(policyOf(1), /^ {2}1 warning, see credence check --config /m);
    assert.doesNotMatch(policyOf(0), /warning/);
  });

  it('says nothing of an end when no SVID is held', () => {
    const document = view([]);
    const rotation = { held_svids: 0, due_svids: 0, earliest_not_after: null };
    assert.match(shown({ ...document, rotation }), /^SVIDs: 0 held, 0 overdue for renewal$/m);
  });

  it('lets no proxy steer the terminal or add a line with the texts it chooses', () => {
    const escape = '\x1b[2J\x07\r\n\x9b1m\u202e';
    const hostile = view(
      [secret({ name: escape, refused: { version: escape, text: escape } })],
      [escape],
    );
    const proxies = hostile.proxies.map((proxy) => ({ ...proxy, node_id: escape }));
    const text = shown({ ...hostile, node_name: escape, proxies });
    assert.doesNotMatch(text, /[^\x20-\x7e\n]/);
    assert.equal(text.split('\n').length, 11);
  });

  it('shows something of any answer that is a status at all', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.array(fc.jsonValue()), (value, values) => {
        for (const document of [
          { proxies: values, authorities: values, policy: value, rotation: value },
          { proxies: [{ streams: values, node_id: value }], authorities: [], not_ready: value },
          { proxies: [{ streams: [{ secrets: values, waiting: values }] }], authorities: [] },
          { proxies: [{ streams: [{ secrets: [{ refused: value }] }] }], authorities: [value] },
        ]) {
          assert.match(shown(document), /^credence \? on \?, .+\n(?:.*\n)+$/);
        }
      }),
    );
  });
});

/** A server that answers everything in the same way, where an admin socket is expected. */
async function answering(t: TestContext, code: number, bodies: readonly string[]): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'credence-status-'));
  const socketPath = join(folder, 'admin.sock');
  let asked = 0;
  const server = createServer((_, response) => {
    response.writeHead(code).end(bodies[Math.min(asked++, bodies.length - 1)]);
  }).listen(socketPath);
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
    rmSync(folder, { recursive: true });
  });
  return socketPath;
}

describe('credence status', () => {
  it('prints the document of the daemon as it is, and nothing else', async (t) => {
    const socket = await answering(t, 200, [JSON.stringify(view([secret()]))]);
    const { out, err, code } = await credence(['status', '--json', '--admin-socket', socket]);
    assert.deepEqual([code, err], [0, '']);
    assert.deepEqual(JSON.parse(out), view([secret()]));
  });

  for (const [what, code, body, exit] of [
    ['no JSON', 200, 'hello', 69],
    ['no status', 200, '{"a": 1}', 69],
    ['null', 200, 'null', 69],
    ['an error', 500, '{"error": "out of paper"}', 1],
    ['an error without words', 503, '[]', 1],
  ] as const) {
    it(`says so when the answer is ${what}`, async (t) => {
      const socket = await answering(t, code, [body]);
      const ran = await credence(['status', '--admin-socket', socket]);
      assert.deepEqual([ran.code, ran.out], [exit, '']);
      assert.match(ran.err, /^credence: .+\n/);
      assert.doesNotMatch(ran.err, /\n {4}at /);
    });
  }

  it('draws anew each second until it is told to stop, also while the daemon is away', async (t) => {
    const socket = await answering(t, 200, [
      JSON.stringify(view([])),
      'restarting',
      JSON.stringify({ ...view([]), node_name: 'n2' }),
    ]);
    const clock = new FakeClock(NOW);
    const stop = new AbortController();
    const drawn: string[] = [];
    let restored = 0;
    const terminal: Terminal = {
      out: () => assert.fail('it belongs on the screen'),
      err: () => assert.fail('nothing is wrong'),
      isTTY: true,
      screen: {
        size: () => ({ rows: 4, columns: 200 }),
        draw(text) {
          drawn.push(text);
          if (drawn.length === 3) stop.abort();
          // The next picture is due once this one stands and the wait for it has begun.
          else setImmediate(() => void clock.advance(1000));
        },
        restore: () => (restored += 1),
      },
      env: {},
      exists: () => false,
      clock,
      signal: stop.signal,
    };
    assert.equal(await status({ 'admin-socket': socket, watch: true }, [], terminal), 0);
    assert.match(drawn[0] ?? '', / on n1, .+\n.+\n… \d more lines\n$/);
    assert.match(drawn[1] ?? '', /cannot reach credence/);
    assert.match(drawn[2] ?? '', / on n2, /);
    assert.equal(drawn.length, 3);
    assert.equal(restored, 1);
  });

  it('beside an Envoy writes into a file only what has changed, and when', async (t) => {
    const certs = (serial: string) =>
      JSON.stringify({
        certificates: [
          {
            ca_cert: [{}],
            cert_chain: [
              {
                serial_number: serial,
                subject_alt_names: [{ uri: 'spiffe://example.org/web' }],
                expiration_time: '2026-01-02T04:00:00Z',
              },
            ],
          },
        ],
      });
    const daemon = await answering(t, 200, [JSON.stringify(view([secret()]))]);
    const answers = ['ab', 'ab', 'ab', 'cd', 'cd', 'ab'].map(certs);
    const envoy = await answering(t, 200, answers);
    const clock = new FakeClock(NOW);
    const stop = new AbortController();
    const written: string[] = [];
    const tick = () => {
      if (stop.signal.aborted) return;
      void clock.advance(500);
      setTimeout(tick, 5);
    };
    const terminal: Terminal = {
      out(text) {
        if (written.push(text) === 3) stop.abort();
      },
      err: () => assert.fail('nothing is wrong'),
      isTTY: false,
      screen: undefined,
      env: {},
      exists: () => false,
      clock,
      signal: stop.signal,
    };
    tick();
    const given = { 'admin-socket': daemon, 'envoy-admin': envoy, watch: true };
    assert.equal(await status(given, [], terminal), 0);
    for (const text of written) assert.match(text, /^2026-01-02T03:\d\d:\d\d\.\d{3}Z\nEnvoy at /);
    assert.deepEqual(
      written.map((text) => /^(?:NOT )?in sync/m.exec(text)?.[0]),
      ['in sync', 'NOT in sync', 'in sync'],
    );
  });
});
