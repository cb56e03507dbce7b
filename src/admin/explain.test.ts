import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { explainDocument } from './explain.ts';

const entry = (spiffeId: string, source: string) => ({
  spiffeId,
  selectors: ['unix:uid:1000'],
  priority: 3,
  source,
});

describe('explainDocument()', () => {
  it('says for each entry what became of it, and with which identity', () => {
    const web = 'spiffe://example.org/web';
    const from = {
      pid: 42,
      startTicks: 4711,
      credentials: { pid: 42, uid: 1000, gid: 100 },
      steps: [{ name: 'socket', text: '/run/s' }],
      refusal: undefined,
      selectors: ['unix:uid:1000'],
      identities: [
        { id: web, priority: 3, source: 'a:1' },
        { id: 'spiffe://example.org/z', priority: 0, source: 'a:9' },
      ],
      verdicts: [
        { kind: 'applies', entry: entry(web, 'a:1'), id: web },
        { kind: 'shadowed', entry: entry(web, 'a:2'), id: web, by: 'a:1' },
        { kind: 'placeholder', entry: entry('spiffe://example.org/{k8s:ns}', 'a:3'), reason: 'no' },
        { kind: 'missing', entry: entry(web, 'a:4'), missing: ['unix:gid:1'], findings: ['no'] },
      ],
      missingNotShown: 2,
    } as const;
    const shared = { spiffe_id: web, selectors: ['unix:uid:1000'], priority: 3 };
    assert.deepEqual(explainDocument(from), {
      pid: 42,
      start_ticks: 4711,
      uid: 1000,
      gid: 100,
      steps: [{ step: 'socket', text: '/run/s' }],
      refusal: null,
      selectors: ['unix:uid:1000'],
      identities: [
        { spiffe_id: web, default: true, priority: 3, source: 'a:1' },
        { spiffe_id: 'spiffe://example.org/z', default: false, priority: 0, source: 'a:9' },
      ],
      entries: [
        { verdict: 'applies', ...shared, source: 'a:1', gives: web },
        { verdict: 'shadowed', ...shared, source: 'a:2', gives: web, shadowed_by: 'a:1' },
        {
          verdict: 'placeholder',
          ...shared,
          spiffe_id: 'spiffe://example.org/{k8s:ns}',
          source: 'a:3',
          reason: 'no',
        },
        { verdict: 'missing', ...shared, source: 'a:4', missing: ['unix:gid:1'], findings: ['no'] },
      ],
      missing_not_shown: 2,
    });
  });
});
