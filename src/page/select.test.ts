import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ProxyState, SecretState } from '../ui/view.ts';
import { PAGE_SIZE, select, type Choice } from './select.ts';

function secret(over: Partial<SecretState> = {}): SecretState {
  return {
    name: 'default',
    state: 'accepted',
    sent: 'v1',
    sentAtMs: 0,
    unansweredSinceMs: null,
    acknowledged: 'v1',
    refused: null,
    spiffeId: 'spiffe://td/a',
    serial: '0b',
    notBeforeMs: 0,
    notAfterMs: 1,
    nextRotationMs: 1,
    inUse: null,
    ...over,
  };
}

function proxy(pid: number, secrets: readonly SecretState[] = [secret()], nodeId = `n${pid}`) {
  const stream = { kind: 'sotw', openedAtMs: 0, waiting: [], absentNotShown: 0, secrets };
  return {
    pid,
    uid: 33,
    user: 'www-data',
    nodeId,
    envoyVersion: '1.40.0',
    refusals: [],
    streams: [stream],
  };
}

const refusing = proxy(9, [secret({ refused: { version: 'v1', text: 'bad Curve' } })]);
const silent = proxy(7, [secret({ state: 'unanswered', sent: 'v2' })]);
const waiting = {
  ...proxy(8, []),
  streams: [
    {
      kind: 'delta',
      openedAtMs: 0,
      waiting: ['nothing signed yet'],
      absentNotShown: 0,
      secrets: [],
    },
  ],
};
const ALL: readonly ProxyState[] = [proxy(3), silent, proxy(1), waiting, refusing];

const pids = (choice: Partial<Choice>, from = ALL) =>
  select(from, { words: '', look: 'all', page: 0, ...choice }).proxies.map((p) => p.proxy.pid);

describe('select()', () => {
  it('puts refusals first, then who waits, then who owes an answer, then the rest by pid', () => {
    assert.deepEqual(pids({}), [9, 8, 7, 1, 3]);
  });

  it('counts each look over all proxies, whatever is filtered', () => {
    const { counts } = select(ALL, { words: 'pid 3', look: 'refused', page: 0 });
    assert.deepEqual(counts, { all: 5, refused: 1, unanswered: 1, waiting: 1 });
  });

  it('shows those that one look names', () => {
    assert.deepEqual(pids({ look: 'refused' }), [9]);
    assert.deepEqual(pids({ look: 'unanswered' }), [7]);
    assert.deepEqual(pids({ look: 'waiting' }), [8]);
  });

  it('finds all words anywhere: in pid, user, node, names and words of a refusal', () => {
    assert.deepEqual(pids({ words: 'CURVE' }), [9]);
    assert.deepEqual(pids({ words: '  www-data   n3 ' }), [3]);
    assert.deepEqual(pids({ words: 'PID 8' }), [8]);
    assert.deepEqual(pids({ words: 'spiffe://td/a n7' }), [7]);
    assert.deepEqual(pids({ words: 'signed' }), [8]);
    assert.deepEqual(pids({ words: 'nowhere' }), []);
  });

  it('gives a page at a time, and the last for one that is not there any more', () => {
    const many = Array.from({ length: 2 * PAGE_SIZE + 1 }, (_, n) => proxy(n + 1));
    const at = (page: number) => select(many, { words: '', look: 'all', page });
    assert.equal(at(0).proxies.length, PAGE_SIZE);
    assert.deepEqual([at(0).found, at(0).pages], [101, 3]);
    assert.deepEqual([at(9).page, at(9).proxies.length], [2, 1]);
    assert.deepEqual([at(-1).page, select([], { words: '', look: 'all', page: 3 }).page], [0, 0]);
  });

  it('tells connections of one process apart, and names them the same the next time', () => {
    const twins = [proxy(1), proxy(1), proxy(2)];
    const keys = (from: readonly ProxyState[]) =>
      select(from, { words: '', look: 'all', page: 0 }).proxies.map(({ key }) => key);
    assert.equal(new Set(keys(twins)).size, 3);
    assert.deepEqual(keys(twins.toReversed()), keys(twins));
  });
});
