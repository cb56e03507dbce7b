import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { pod, type PodParts } from '../../test/support/pods.ts';
import { createPodIndex } from './pod-index.ts';
import { readPod } from './pod.ts';
import { createPods } from './pods.ts';

function read(parts: PodParts) {
  return readPod(pod(parts)) ?? assert.fail();
}

const signal = new AbortController().signal;

describe('createPodIndex()', () => {
  const open = () => {
    const index = createPodIndex('node-1', assert.ifError);
    const changes: string[] = [];
    index.onChange((uid) => changes.push(uid));
    return { index, changes };
  };

  it('finds a container by its id, in the pod that the cgroup names', () => {
    const { index } = open();
    index.put(read({}));
    assert.equal(index.find('uid-1', 'id-web')?.container.name, 'web');
    assert.equal(index.find('another', 'id-web'), undefined);
    assert.equal(index.find('uid-1', 'another'), undefined);
  });

  it('finds a static pod by the hash of its configuration and the container together', () => {
    const { index } = open();
    const annotations = { 'kubernetes.io/config.hash': 'h', 'kubernetes.io/config.mirror': 'm' };
    index.put(read({ annotations }));
    assert.equal(index.find('h', 'id-web')?.pod.uid, 'uid-1');
    assert.equal(index.find('h', 'another'), undefined);
  });

  it('finds init, sidecar and ephemeral containers', () => {
    const { index } = open();
    index.put(read({ inits: ['setup'], ephemeral: ['debug'] }));
    assert.equal(index.find('uid-1', 'id-setup')?.container.kind, 'init');
    assert.equal(index.find('uid-1', 'id-debug')?.container.kind, 'ephemeral');
  });

  it('refuses a container that several pods claim', () => {
    const { index } = open();
    index.put(read({}));
    index.put(read({ uid: 'uid-2' }));
    assert.throws(() => index.find('uid-1', 'id-web'), { code: 'ERR_ATTESTATION' });
    index.remove('uid-2');
    assert.equal(index.find('uid-1', 'id-web')?.pod.uid, 'uid-1');
  });

  it('leaves out pods of other nodes, also one that was here before', () => {
    const { index } = open();
    index.put(read({ nodeName: 'node-2' }));
    assert.equal(index.size, 0);
    index.put(read({}));
    index.put(read({ nodeName: 'node-2', version: '2' }));
    assert.equal(index.find('uid-1', 'id-web'), undefined);
  });

  it('leaves out pods that have ended, also one that was here before', () => {
    const { index } = open();
    index.put(read({ phase: 'Failed' }));
    assert.equal(index.size, 0);
    index.put(read({}));
    index.put(read({ phase: 'Succeeded', version: '2' }));
    assert.equal(index.find('uid-1', 'id-web'), undefined);
    assert.equal(index.size, 0);
  });

  it('keeps a pod apart from the one that is made anew under its name', () => {
    const { index } = open();
    index.put(read({}));
    index.replace([read({ uid: 'uid-2', containers: ['again'] })]);
    assert.equal(index.find('uid-1', 'id-web'), undefined);
    assert.equal(index.find('uid-2', 'id-again')?.pod.name, 'web-1');
  });

  it('tells of what is new, has changed and is gone, once the whole list is in', () => {
    const { index, changes } = open();
    index.put(read({}));
    index.put(read({}));
    index.put(read({ version: '2' }));
    assert.deepEqual(changes.splice(0), ['uid-1', 'uid-1']);
    const sizes: number[] = [];
    index.onChange(() => sizes.push(index.size));
    index.replace([
      read({ uid: 'uid-2', containers: ['b'] }),
      read({ uid: 'uid-3', containers: [] }),
    ]);
    assert.deepEqual(changes, ['uid-2', 'uid-3', 'uid-1']);
    assert.deepEqual(sizes, [2, 2, 2]);
  });
});

describe('createPods()', () => {
  function open() {
    const clock = new FakeClock();
    const index = createPodIndex('node-1', assert.ifError);
    const relists: number[] = [];
    const closing = new AbortController();
    const pods = createPods({
      index,
      clock,
      closing: closing.signal,
      relist: () => {
        relists.push(clock.now());
        return Promise.reject(new Error('away'));
      },
    });
    const start = clock.now();
    const locate = (podUid = 'uid-1', containerId = 'id-web', options = { signal }) =>
      pods.locate(podUid, containerId, options);
    return { clock, index, pods, closing, locate, relists: () => relists.map((at) => at - start) };
  }

  it('answers at once what is known', () => {
    const { index, locate } = open();
    index.put(read({}));
    const found = locate();
    assert.ok(!(found instanceof Promise));
    assert.equal(found.pod.uid, 'uid-1');
  });

  it('waits until the container is told of', async () => {
    const { index, locate, pods } = open();
    const found = locate();
    index.put(read({ containers: [] }));
    await settle();
    assert.equal(pods.waiting, 1);
    index.put(read({ version: '2' }));
    assert.equal((await found).container?.id, 'id-web');
    assert.equal(pods.waiting, 0);
  });

  it('asks for one list for all that wait, more and more rarely, and gives up in the end', async () => {
    const { clock, locate, relists, pods } = open();
    const all = [locate(), locate(), locate('uid-2', 'other')].map((one) =>
      assert.rejects(Promise.resolve(one), { code: 'ERR_ATTESTATION' }),
    );
    for (let n = 0; n < 300; n++) {
      await clock.advance(100);
      await settle();
    }
    await Promise.all(all);
    assert.deepEqual(relists().slice(0, 6), [250, 750, 1250, 2250, 4250, 6250]);
    assert.ok(relists().length < 20);
    assert.equal(pods.waiting, 0);
    await clock.advance(60_000);
    assert.equal(clock.timers, 0);
  });

  it('bounds those that wait for one pod', async () => {
    const { locate, closing } = open();
    const waiting = Array.from({ length: 64 }, () => Promise.resolve(locate()));
    await assert.rejects(Promise.resolve(locate()), { code: 'ERR_LIMIT' });
    const other = Promise.resolve(locate('uid-2', 'other'));
    closing.abort(new Error('closing'));
    for (const one of [...waiting, other]) await assert.rejects(one, /closing/);
  });

  it('takes the place of the newest of the pod with the most when all are taken', async () => {
    const { locate, closing, pods } = open();
    const ends: Promise<string>[] = [];
    const wait = (podUid: string) => {
      const found = Promise.resolve(locate(podUid, 'id'));
      const ended = found.then(
        () => 'found',
        (thrown: unknown) => (thrown as { code?: string }).code ?? String(thrown),
      );
      ends.push(ended);
      return ended;
    };
    for (let n = 0; n < 2048; n++) void wait(`greedy-${n % 32}`);
    void wait('modest');
    void wait('modest');
    assert.equal(pods.waiting, 2048);
    // With as many as any other it has no claim to another's.
    assert.equal(await wait('greedy-0'), 'ERR_LIMIT');
    closing.abort(new Error('closing'));
    const refused = (await Promise.all(ends)).flatMap((end, n) => (end === 'ERR_LIMIT' ? [n] : []));
    assert.deepEqual(refused, [2016, 2017, 2050]);
  });

  it('ends with the process that waits', async () => {
    const { locate, pods } = open();
    const gone = new AbortController();
    const found = Promise.resolve(locate('uid-1', 'id-web', { signal: gone.signal }));
    gone.abort(new Error('gone'));
    await assert.rejects(found, /gone/);
    assert.equal(pods.waiting, 0);
  });
});
