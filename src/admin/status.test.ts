import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { statusText, type StatusSources } from './status.ts';

type OpenStream = StatusSources['streams'] extends Iterable<infer One> ? One : never;
type Stream = ReturnType<OpenStream['snapshot']> & Pick<OpenStream, 'connection'>;

const AT = Date.parse('2026-01-02T03:04:05.678Z');

function stream(overrides: Partial<Stream> = {}): Stream {
  return {
    connection: 'c1',
    credentials: { pid: 42, uid: 1000, gid: 100 },
    kind: 'stream',
    node: undefined,
    openedAtMs: AT,
    unanswered: 0,
    waiting: [],
    refusals: [],
    resources: [],
    ...overrides,
  };
}

function sources(streams: readonly Stream[]): StatusSources {
  return {
    version: '1.2.3',
    nodeName: 'node-1',
    trustDomain: 'example.org',
    startedAtMs: AT,
    nowMs: AT + 500,
    notReady: [],
    policy: { revision: 'r1', entries: 2, loadedAtMs: AT, warnings: [] },
    manifests: [],
    authorities: [
      {
        ...{ slot: 'active', level: 'issuing', state: 'active', id: '0b', serial: '0a' },
        ...{ notBeforeMs: AT, notAfterMs: AT + 1000, keyType: 'ec-p256' },
        ...{ tainted: false, revoked: false },
      },
    ],
    bundleReaders: { readers: 2, behind: 1 },
    upstream: undefined,
    rotation: { held: 1, due: 0, earliestNotAfterMs: undefined },
    streams: streams.map((stream) => ({
      connection: stream.connection,
      snapshot: () => stream,
    })),
  };
}

interface Document {
  readonly now: string;
  readonly started_at: string;
  readonly policy: unknown;
  readonly authorities: unknown;
  readonly rotation: unknown;
  readonly proxies: readonly {
    readonly pid: number;
    readonly node_id: string | null;
    readonly envoy_version: string | null;
    readonly streams: readonly {
      readonly secrets: readonly unknown[];
      readonly oldest_unanswered_at: string | null;
    }[];
  }[];
}

const read = (from: StatusSources) => JSON.parse([...statusText(from)].join('')) as Document;
const documentOf = (streams: readonly Stream[]) => read(sources(streams));

describe('statusText()', () => {
  it('says of a refused change of the policy why and when it was refused', () => {
    const refused = { ...sources([]).policy, lastError: 'policy.yaml:1: no', lastErrorAtMs: AT };
    const { policy } = read({ ...sources([]), policy: refused });
    assert.deepEqual(policy, {
      revision: 'r1',
      entries: 2,
      loaded_at: '2026-01-02T03:04:05.678Z',
      warnings: 0,
      last_error: 'policy.yaml:1: no',
      last_error_at: '2026-01-02T03:04:05.678Z',
    });
  });

  it('says what time it is for the daemon', () => {
    const { now, started_at } = documentOf([]);
    assert.equal(Date.parse(now) - Date.parse(started_at), 500);
  });

  it('writes times as RFC 3339 and what is not there as null', () => {
    const { policy, authorities, rotation } = documentOf([]);
    assert.deepEqual(policy, {
      revision: 'r1',
      entries: 2,
      loaded_at: '2026-01-02T03:04:05.678Z',
      warnings: 0,
      last_error: null,
      last_error_at: null,
    });
    assert.deepEqual(authorities, [
      {
        level: 'issuing',
        slot: 'active',
        state: 'active',
        id: '0b',
        root_id: null,
        subject: null,
        serial: '0a',
        key_type: 'ec-p256',
        not_before: '2026-01-02T03:04:05.678Z',
        not_after: '2026-01-02T03:04:06.678Z',
        since: null,
        kept_until: null,
        tainted: false,
        revoked: false,
        next_step: null,
        next_step_at: null,
        waits_until: null,
      },
    ]);
    assert.deepEqual(rotation, { held_svids: 1, due_svids: 0, earliest_not_after: null });
  });

  it('gathers the streams of one connection as one proxy, known by whichever stream told', () => {
    const userAgentVersion = { major: 1, minor: 40, patch: 0 };
    const node = { id: 'web-1', userAgentName: 'envoy', userAgentVersion };
    const { proxies } = documentOf([
      stream(),
      stream({ connection: 'c2', credentials: { pid: 43, uid: 0, gid: 0 } }),
      stream({ node }),
    ]);
    assert.deepEqual(
      proxies.map(({ pid, node_id, envoy_version, streams }) => [
        pid,
        node_id,
        envoy_version,
        streams.length,
      ]),
      [
        [42, 'web-1', '1.40.0', 2],
        [43, null, null, 1],
      ],
    );
  });

  it("tells sent from acknowledged from refused, with the proxy's words", () => {
    const { proxies } = documentOf([
      stream({
        resources: [
          {
            name: 'default',
            state: 'refused',
            sent: 'v2',
            sentAtMs: AT,
            unansweredSinceMs: undefined,
            inUse: {
              version: 'v1',
              svid: {
                id: 'spiffe://td/a',
                serial: '0a',
                notBeforeMs: AT,
                notAfterMs: AT + 1000,
                authorityId: 'ab',
                renewAtMs: AT,
              },
            },
            absent: false,
            acknowledged: 'v1',
            rejected: { version: 'v2', text: 'no such curve' },
            svid: {
              id: 'spiffe://td/a',
              serial: '0b',
              notBeforeMs: AT,
              notAfterMs: AT + 2000,
              authorityId: 'ab',
              renewAtMs: AT + 1000,
            },
          },
          {
            name: 'ROOTCA',
            state: 'absent',
            sent: undefined,
            sentAtMs: 0,
            unansweredSinceMs: undefined,
            inUse: undefined,
            absent: true,
            acknowledged: undefined,
            rejected: undefined,
            svid: undefined,
          },
        ],
      }),
    ]);
    assert.deepEqual(proxies[0]?.streams[0]?.secrets, [
      {
        name: 'default',
        state: 'refused',
        sent: 'v2',
        absent: false,
        sent_at: '2026-01-02T03:04:05.678Z',
        unanswered_since: null,
        acknowledged: 'v1',
        refused: { version: 'v2', text: 'no such curve' },
        spiffe_id: 'spiffe://td/a',
        serial: '0b',
        authority_id: 'ab',
        not_before: '2026-01-02T03:04:05.678Z',
        not_after: '2026-01-02T03:04:07.678Z',
        next_rotation: '2026-01-02T03:04:06.678Z',
        in_use: {
          version: 'v1',
          spiffe_id: 'spiffe://td/a',
          serial: '0a',
          authority_id: 'ab',
          not_before: '2026-01-02T03:04:05.678Z',
          not_after: '2026-01-02T03:04:06.678Z',
        },
      },
      {
        name: 'ROOTCA',
        state: 'absent',
        sent: null,
        absent: true,
        sent_at: null,
        unanswered_since: null,
        acknowledged: null,
        refused: null,
        spiffe_id: null,
        serial: null,
        authority_id: null,
        not_before: null,
        not_after: null,
        next_rotation: null,
        in_use: null,
      },
    ]);
  });

  it('says since when a push has no answer, and nothing once all have one', () => {
    const resource: Stream['resources'][number] = {
      name: 'default',
      state: 'unanswered',
      sent: 'v2',
      sentAtMs: AT + 2000,
      unansweredSinceMs: AT + 1000,
      absent: false,
      acknowledged: 'v1',
      rejected: undefined,
      inUse: undefined,
      svid: undefined,
    };
    const since = (...resources: Stream['resources']) =>
      documentOf([stream({ resources })]).proxies[0]?.streams[0]?.oldest_unanswered_at;
    const older = { ...resource, unansweredSinceMs: AT };
    const answered = { ...resource, unansweredSinceMs: undefined };
    assert.equal(since(resource, older), '2026-01-02T03:04:05.678Z');
    assert.equal(since(resource, answered), '2026-01-02T03:04:06.678Z');
    assert.equal(since(answered), null);
    assert.equal(since(), null);
  });
});
