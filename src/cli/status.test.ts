import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { credence } from '../../test/support/transcript.ts';
import type { Terminal } from './command.ts';
import { status, statusText } from './status.ts';

type View = Parameters<typeof statusText>[0];
type Secret = View['proxies'][number]['streams'][number]['secrets'][number];

const NOW = Date.parse('2026-01-02T03:00:00Z');

function secret(overrides: Partial<Secret> = {}): Secret {
  return {
    name: 'default',
    sent: '0123456789abcdef',
    acknowledged: '0123456789abcdef',
    refused: null,
    serial: 'ab',
    not_after: '2026-01-02T04:00:00Z',
    next_rotation: '2026-01-02T03:30:00Z',
    ...overrides,
  };
}

function view(secrets: readonly Secret[], waiting: readonly string[] = []): View {
  return {
    version: '1.2.3',
    node_name: 'n1',
    trust_domain: 'example.org',
    not_ready: [],
    policy: { entries: 2, last_error: null },
    authorities: [{ slot: 'active', not_after: '2026-01-03T03:00:00Z' }],
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

describe('statusText()', () => {
  it('shows each proxy with what it accepted and when that ends', () => {
    assert.equal(
      statusText(view([secret()], ['attestation']), NOW),
      [
        'credence 1.2.3 on n1, trust domain example.org, ready',
        'policy: 2 entries',
        'authority active: 1d left',
        'proxies: 1',
        '',
        'pid 42 uid 1000, node web, Envoy 1.40.0',
        '  default: 0123456789ab accepted, serial ab, expires in 1h, rotates in 30m',
        '  waiting: attestation',
        '',
      ].join('\n'),
    );
  });

  it('tells refused from unanswered from not sent', () => {
    const text = statusText(
      view([
        secret({ name: 'a', refused: { version: 'v', text: 'no such curve' } }),
        secret({ name: 'b', acknowledged: null }),
        secret({ name: 'c', sent: null, acknowledged: null, serial: null }),
      ]),
      NOW,
    );
    assert.match(text, /^ {2}a: 0123456789ab REFUSED: no such curve, /m);
    assert.match(text, /^ {2}b: 0123456789ab sent, not answered yet, /m);
    assert.match(text, /^ {2}c: - not sent yet$/m);
  });

  it('shows a refused change of the policy and why it is not ready', () => {
    const text = statusText(
      {
        ...view([]),
        not_ready: ['starting'],
        policy: { entries: 2, last_error: 'p.yaml:1:1: no' },
      },
      NOW,
    );
    assert.match(text, /not ready: starting$/m);
    assert.match(text, /^ {2}the last change was refused: p\.yaml:1:1: no$/m);
  });

  it('lets no proxy steer the terminal with the texts it chooses', () => {
    const escape = '\x1b[2J\x07\r\n';
    const hostile = view(
      [secret({ name: escape, refused: { version: 'v', text: escape } })],
      [escape],
    );
    const proxies = hostile.proxies.map((proxy) => ({ ...proxy, node_id: escape }));
    const text = statusText({ ...hostile, proxies }, NOW);
    assert.doesNotMatch(text, /[^\x20-\x7e\n]/);
    assert.equal(text.split('\n').length, 9);
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
    const terminal: Terminal = {
      out(text) {
        drawn.push(text);
        if (drawn.length === 3) stop.abort();
        // The next picture is due once this one stands and the wait for it has begun.
        else setImmediate(() => void clock.advance(1000));
      },
      err: () => assert.fail('nothing is wrong'),
      isTTY: true,
      outIsTTY: true,
      env: {},
      clock,
      signal: stop.signal,
    };
    assert.equal(await status({ 'admin-socket': socket, watch: true }, [], terminal), 0);
    assert.equal(drawn.length, 3);
    for (const picture of drawn) assert.ok(picture.startsWith('\x1b[H\x1b[2J'));
    assert.match(drawn[0] ?? '', / on n1, /);
    assert.match(drawn[1] ?? '', /cannot reach credence/);
    assert.match(drawn[2] ?? '', / on n2, /);
  });
});
