import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fakeCaller } from '../../test/support/identities.ts';
import { parseSelectorList, type Selector } from '../identity/selector.ts';
import { whoJson } from './who.ts';

const describeWith = (selectors: readonly Selector[], more = {}) =>
  JSON.parse(whoJson({ ...fakeCaller(7, 1000), selectors, ...more })) as Readonly<
    Record<string, unknown>
  >;

describe('whoJson()', () => {
  it('tells what the kernel says of a process that is not attested', () => {
    const who = { pid: 1, uid: 2, gid: 3 };
    assert.deepEqual(JSON.parse(whoJson(who)), who);
  });

  it('tells pod, container and unit where selectors do', () => {
    const selectors = parseSelectorList(
      'k8s:container-name:proxy,k8s:ns:shop,k8s:pod-name:web-1,k8s:pod-uid:u-1,systemd:id:web.service',
    );
    assert.deepEqual(describeWith(selectors, { startTicks: () => 42 }), {
      ...{ pid: 7, uid: 1000, gid: 1000, start_ticks: 42 },
      pod: { namespace: 'shop', name: 'web-1', uid: 'u-1' },
      ...{ container: 'proxy', unit: 'web.service', selectors },
    });
  });

  it('leaves out selectors that are too many or too long, and says how many', () => {
    const many = Array.from({ length: 100 }, (_, n) => `unix:supplementary_gid:${n}` as Selector);
    const all = describeWith(many);
    assert.equal((all['selectors'] as string[]).length, 64);
    assert.equal(all['selectors_left_out'], 36);
    const long = describeWith([
      `docker:label:x:${'y'.repeat(4090)}` as Selector,
      ...many.slice(0, 3),
    ]);
    assert.deepEqual(long['selectors'], many.slice(0, 3));
    assert.equal(long['selectors_left_out'], 1);
  });

  it('tells no value of a container’s environment', () => {
    const selectors = parseSelectorList('docker:env:PASSWORD=secret');
    assert.deepEqual(describeWith(selectors)['selectors'], ['docker:env:PASSWORD=[redacted]']);
  });

  it('follows the selectors of a process', () => {
    const caller = { ...fakeCaller(), selectors: parseSelectorList('unix:uid:1') };
    const first = whoJson(caller);
    assert.equal(whoJson(caller), first);
    caller.selectors = parseSelectorList('unix:uid:2');
    assert.match(whoJson(caller), /unix:uid:2/);
  });
});
