import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import { describe, it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import type { ContainerPlace } from '../cgroup/container.ts';
import { IdentityError } from '../core/errors.ts';
import { selector } from '../identity/selector.ts';
import { createContainers, type Init } from './containers.ts';
import type { EngineSocket } from './engine.ts';
import type { Inspection } from './inspection.ts';

const ID = 'ab'.repeat(32);
const DOCKER: ContainerPlace = {
  ...{ engine: 'docker', id: ID, uid: undefined, unproven: false },
  path: ['docker', ID],
};
const PODMAN: ContainerPlace = {
  ...DOCKER,
  engine: 'podman',
  path: ['machine.slice', `libpod-${ID}`],
};
const ROOTLESS: ContainerPlace = { ...PODMAN, uid: 1000, path: ['user.slice', `libpod-${ID}`] };
const PAYLOAD: ContainerPlace = {
  ...{ ...PODMAN, unproven: true },
  path: ['system.slice', 'web.service', `libpod-payload-${ID}`],
};
const never = { signal: new AbortController().signal, uid: 0 };
setMaxListeners(0, never.signal);

/** An engine of which a test says when it answers, and what. */
function setUp(initPid = 7) {
  const clock = new FakeClock();
  const asked: EngineSocket[] = [];
  const answers: ((answer: Inspection | Error) => void)[] = [];
  const inits = new Map<number, Init>();
  const containers = createContainers({
    paths: { docker: '/docker.sock', podman: '/podman.sock', rootless: '/run/user/%d/p.sock' },
    inspect: (engine, _, { signal }) =>
      new Promise((resolve, reject) => {
        asked.push(engine);
        signal.addEventListener('abort', () => reject(signal.reason as Error));
        answers.push((answer) => (answer instanceof Error ? reject(answer) : resolve(answer)));
      }),
    initOf: (pid) => inits.get(pid),
    clock,
  });
  const say = (label: string) => {
    answers.shift()?.({ selectors: [selector('docker', `label:a:${label}`)], initPid });
  };
  return { clock, asked, answers, inits, containers, say };
}

describe('what engines say of containers', () => {
  it('is asked at the socket of the engine, or of the user, and nowhere else', async () => {
    for (const [place, path, uid] of [
      [DOCKER, '/docker.sock', undefined],
      [PODMAN, '/podman.sock', undefined],
      [ROOTLESS, '/run/user/1000/p.sock', 1000],
    ] as const) {
      const { asked, containers, say } = setUp();
      const told = containers.selectorsOf(place, never);
      await settle();
      say('x');
      assert.deepEqual(await told, ['docker:label:a:x']);
      assert.deepEqual(
        asked.map((engine) => [engine.path, engine.users?.uid, engine.users?.below]),
        [[path, uid, uid && '/run/user']],
      );
    }
  });

  it('is asked once for all that wait for it', async () => {
    const { asked, containers, say } = setUp();
    const told = Array.from({ length: 100 }, async () => containers.selectorsOf(DOCKER, never));
    await settle();
    say('x');
    for (const one of await Promise.all(told)) assert.deepEqual(one, ['docker:label:a:x']);
    assert.equal(asked.length, 1);
  });

  it('is known at once for as long as the container runs that was asked about', async () => {
    const { asked, inits, containers, say } = setUp();
    inits.set(7, { startTicks: 100, place: DOCKER });
    const told = containers.selectorsOf(DOCKER, never);
    await settle();
    say('x');
    await told;
    assert.deepEqual(containers.selectorsOf(DOCKER, never), ['docker:label:a:x']);
    assert.equal(asked.length, 1);
  });

  for (const [what, init] of [
    ['restarted', { startTicks: 200, place: DOCKER }],
    ['gone', undefined],
    ['gone, and its pid is another container’s', { startTicks: 100, place: PODMAN }],
  ] as const) {
    it(`is asked again when the container was ${what}`, async () => {
      const { inits, containers, say } = setUp();
      inits.set(7, { startTicks: 100, place: DOCKER });
      const first = containers.selectorsOf(DOCKER, never);
      await settle();
      say('x');
      await first;
      if (init) inits.set(7, init);
      else inits.delete(7);
      const second = containers.selectorsOf(DOCKER, never);
      assert.ok(second instanceof Promise);
      await settle();
      say('y');
      assert.deepEqual(await second, ['docker:label:a:y']);
    });
  }

  it('is not kept while the engine names no process of it, nor of what users say', async () => {
    for (const [place, pid] of [
      [DOCKER, 0],
      [ROOTLESS, 7],
    ] as const) {
      const { inits, containers, say, clock } = setUp(pid);
      inits.set(7, { startTicks: 100, place });
      const told = containers.selectorsOf(place, never);
      await settle();
      say('x');
      await told;
      await clock.advance(100);
      const again = containers.selectorsOf(place, never);
      assert.ok(again instanceof Promise);
      await settle();
      say('y');
      assert.deepEqual(await again, ['docker:label:a:y']);
    }
  });

  it('forgets the oldest of too many', async () => {
    const { inits, containers, say } = setUp();
    const places = Array.from({ length: 1025 }, (_, n) => {
      const id = n.toString(16).padStart(64, '0');
      return { ...DOCKER, id, path: ['docker', id] };
    });
    for (const place of places) {
      inits.set(7, { startTicks: 100, place });
      const told = containers.selectorsOf(place, never);
      await settle();
      say('x');
      await told;
    }
    const [first = DOCKER, second = DOCKER] = places;
    inits.set(7, { startTicks: 100, place: second });
    assert.ok(!(containers.selectorsOf(second, never) instanceof Promise));
    inits.set(7, { startTicks: 100, place: first });
    const again = containers.selectorsOf(first, never);
    assert.ok(again instanceof Promise);
    await settle();
    say('x');
    await again;
  });

  it('is not kept when it failed: the next one asks again', async () => {
    const { answers, containers, say } = setUp();
    const first = containers.selectorsOf(DOCKER, never);
    await settle();
    answers.shift()?.(new IdentityError('ERR_ATTESTATION', 'no such container'));
    await assert.rejects(async () => first, { code: 'ERR_ATTESTATION' });
    const second = containers.selectorsOf(DOCKER, never);
    await settle();
    say('x');
    assert.deepEqual(await second, ['docker:label:a:x']);
  });

  it('counts below a service only when the container runs in that very cgroup', async () => {
    for (const [init, counts] of [
      [{ startTicks: 1, place: PAYLOAD }, true],
      [
        { startTicks: 1, place: { ...PAYLOAD, path: ['system.slice', 'evil.service', 'x'] } },
        false,
      ],
      [{ startTicks: 1, place: PODMAN }, false],
      [{ startTicks: 1, place: undefined }, false],
      [undefined, false],
    ] as const) {
      const { inits, containers, say } = setUp();
      if (init) inits.set(7, init);
      const told = containers.selectorsOf(PAYLOAD, never);
      await settle();
      say('x');
      if (counts) assert.deepEqual(await told, ['docker:label:a:x']);
      else await assert.rejects(async () => told, { code: 'ERR_ATTESTATION' });
    }
  });

  it('fails where the socket of the engine is not told', async () => {
    const containers = createContainers({
      paths: { docker: '', podman: '/podman.sock', rootless: '' },
      inspect: () => assert.fail('nobody is there'),
      initOf: () => undefined,
      clock: new FakeClock(),
    });
    await assert.rejects(async () => containers.selectorsOf(DOCKER, never), {
      code: 'ERR_ATTESTATION',
      message: 'the process is in a container of docker, whose socket credence was not told',
    });
  });

  it("asks one user's engine one question at a time, and the machine's eight", async () => {
    const { asked, containers, clock } = setUp();
    const places = Array.from({ length: 20 }, (_, n) => n.toString(16).padStart(64, '0'));
    const other = { ...ROOTLESS, uid: 1001 };
    for (const kind of [ROOTLESS, other, DOCKER]) {
      for (const id of places) {
        const told = containers.selectorsOf({ ...kind, id }, never);
        if (told instanceof Promise) told.catch(() => undefined);
      }
    }
    await settle();
    const counts = (path: string) => asked.filter((engine) => engine.path === path).length;
    assert.deepEqual(
      ['/run/user/1000/p.sock', '/run/user/1001/p.sock', '/docker.sock'].map(counts),
      [1, 1, 8],
    );
    containers.close();
    await clock.advance(5000);
  });

  it('is not asked any more once nobody waits for it', async () => {
    const { asked, answers, containers, say } = setUp();
    const own = new AbortController();
    setMaxListeners(0, own.signal);
    const mine = Array.from({ length: 3 }, async (_, n) =>
      // Two of them about the same.
      containers.selectorsOf(
        { ...ROOTLESS, id: String(Math.ceil(n / 2)).padStart(64, '0') },
        { ...never, signal: own.signal },
      ),
    );
    const gone = Promise.allSettled(mine);
    await settle();
    const other = containers.selectorsOf({ ...ROOTLESS, uid: 1001 }, never);
    own.abort(new Error('gone'));
    await gone;
    await settle();
    say('x');
    const again = containers.selectorsOf({ ...ROOTLESS, uid: 1001 }, never);
    say('y');
    assert.deepEqual(await other, ['docker:label:a:y']);
    assert.deepEqual(await again, ['docker:label:a:y']);
    // Of the three one was under way, the others never came to their turn.
    assert.equal(asked.length, 2);
    assert.equal(answers.length, 0);
  });

  it('is known to others also while one user names thousands below a service', async () => {
    const { asked, containers, say } = setUp();
    const results: Promise<unknown>[] = [];
    const name = (n: number, uid: number) => {
      const place = { ...PAYLOAD, id: n.toString(16).padStart(64, '0') };
      const told = Promise.resolve(containers.selectorsOf(place, { ...never, uid }));
      results.push(told.catch((thrown: unknown) => thrown));
      return told;
    };
    for (let n = 0; n < 66; n++) void name(n, 1000).catch(() => undefined);
    await assert.rejects(name(66, 1000), { code: 'ERR_LIMIT' });
    // Another one's turn is the next, and who has proven its place does not wait for any of them.
    const others = name(1000, 1001);
    const proven = containers.selectorsOf(PODMAN, never);
    await settle();
    assert.equal(asked.length, 3);
    say('a');
    await settle();
    assert.equal(asked.length, 4);
    containers.close();
    await assert.rejects(others, { code: 'ERR_SHUTDOWN' });
    await assert.rejects(async () => proven, { code: 'ERR_SHUTDOWN' });
    await Promise.all(results);
  });

  it('ends all waiting when it is closed, and each by its own signal', async () => {
    const { containers } = setUp();
    const own = new AbortController();
    const mine = containers.selectorsOf(DOCKER, { ...never, signal: own.signal });
    const others = containers.selectorsOf(DOCKER, never);
    await settle();
    own.abort(new Error('mine'));
    await assert.rejects(async () => mine, /mine/);
    containers.close();
    await assert.rejects(async () => others, { code: 'ERR_SHUTDOWN' });
  });
});
