import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import {
  API,
  entitlement,
  fakeBundle,
  fakeCaller,
  fakeSvid,
  OWN,
  PARTNER,
  WEB,
} from '../../test/support/identities.ts';
import { rotation } from '../../test/support/rotation.ts';
import { IdentityError } from '../core/errors.ts';
import type { TrustBundle } from '../identity/bundle.ts';
import type { Entitlement } from '../identity/entitlement.ts';
import { selectorOfPod } from '../identity/pod-selector.ts';
import type { Selector } from '../identity/selector.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { PlannedSvid, SvidKeeper, WorkloadReader } from './attachment.ts';
import { createWorkloads } from './workloads.ts';

/** A holding as rotation keeps it. */
interface Held {
  readonly holder: string;
  readonly id: string;
  readonly ttlMs: number | undefined;
  current: PlannedSvid | undefined;
  readonly change: () => void;
  released: boolean;
}

class FakeReader implements WorkloadReader {
  looks = 0;
  reason: IdentityError | undefined;
  refresh = () => {
    this.looks++;
  };
  gone = (reason: IdentityError) => void (this.reason = reason);
}

function node({ clock = new FakeClock(), svids }: { clock?: FakeClock; svids?: SvidKeeper } = {}) {
  const errors: unknown[] = [];
  const held: Held[] = [];
  const forgotten: string[] = [];
  const bundles = new Map<TrustDomain, TrustBundle>([[OWN, fakeBundle(OWN)]]);
  let identities: readonly Entitlement[] = [entitlement(WEB), entitlement(API)];
  let match: (selectors: readonly Selector[]) => readonly Entitlement[] = () => identities;
  let onPolicy: (having?: Selector) => void = () => undefined;
  let onBundle: (domain: TrustDomain) => void = () => undefined;
  let subscriptions = 2;
  const workloads = createWorkloads({
    trustDomain: OWN,
    entitlements: {
      match: (selectors) => match(selectors),
      onChange: (listener) => {
        onPolicy = listener;
        return () => subscriptions--;
      },
    },
    svids: svids ?? {
      hold(holder, { id, ttlMs }, change) {
        const one: Held = { holder, id, ttlMs, current: undefined, change, released: false };
        held.push(one);
        return {
          current: () => one.current,
          failure: () => undefined,
          release: () => void (one.released = true),
        };
      },
      forget: (holder) => void forgotten.push(holder),
    },
    bundles: {
      get: (domain) => bundles.get(domain),
      onChange: (listener) => {
        onBundle = listener;
        return () => subscriptions--;
      },
    },
    clock,
    onError: (thrown) => errors.push(thrown),
  });
  return {
    ...{ clock, errors, held, forgotten, workloads },
    subscriptions: () => subscriptions,
    attach: (caller = fakeCaller(), reader = new FakeReader()) => ({
      caller,
      reader,
      attachment: workloads.attach(caller, reader),
    }),
    grant: async (...now: Entitlement[]) => {
      identities = now;
      onPolicy();
      await clock.advance(5);
    },
    matchWith: (by: typeof match) => void (match = by),
    /** Without waiting for what comes of it. */
    change: (having?: Selector) => onPolicy(having),
    changeBundle: async (domain: TrustDomain) => {
      onBundle(domain);
      await clock.advance(5);
    },
    sign: (one: Held | undefined, serial = '01') => {
      assert.ok(one);
      one.current = { svid: fakeSvid(one.id, { serial }), renewAtMs: 0, dueAtMs: undefined };
      one.change();
    },
  };
}

/** A process in a pod, as far as the policy is concerned. */
function inPod(uid: string, pid: number, user = 1000) {
  return { ...fakeCaller(pid, user), selectors: [selectorOfPod(uid)] };
}

describe('createWorkloads()', () => {
  it('holds an SVID once for each reader, whoever often it is looked at', () => {
    const { attach, held } = node();
    const { attachment } = attach();
    const [first = assert.fail()] = attachment.grant().identities;
    attachment.svid(first);
    attachment.svid(first);
    assert.equal(held.length, 1);
    assert.equal(held[0]?.holder, 'process 1');
  });

  it('lets a newcomer look as soon as its first SVID is there, later ones in the crowd', async () => {
    const { attach, held, sign, clock } = node();
    const { attachment, reader } = attach();
    attachment.svid(attachment.grant().identities[0] ?? assert.fail());
    sign(held[0]);
    assert.equal(reader.looks, 1);
    sign(held[0], '02');
    assert.equal(reader.looks, 1);
    await clock.advance(5);
    assert.equal(reader.looks, 2);
  });

  it('lets it look once for all its first SVIDs, not once for each', async () => {
    const { attach, held, sign, clock } = node();
    const { attachment, reader } = attach();
    for (const identity of attachment.grant().identities) attachment.svid(identity);
    assert.equal(held.length, 2);
    sign(held[0]);
    assert.equal(reader.looks, 0);
    sign(held[1]);
    assert.equal(reader.looks, 1);
    await clock.advance(5);
    assert.equal(reader.looks, 2, 'the look that the first one called for');
  });

  it('lets it look once for a burst that rotation signs, and then everything is there', async () => {
    const { clock, rotator } = rotation();
    const { attach } = node({ clock, svids: rotator });
    const reader = new FakeReader();
    const { attachment } = attach(fakeCaller(), reader);
    const look = () => attachment.grant().identities.map((id) => attachment.svid(id).current());
    const looks: boolean[][] = [];
    reader.refresh = () => void looks.push(look().map((held) => held !== undefined));
    assert.deepEqual(look(), [undefined, undefined]);
    await settle();
    assert.deepEqual(looks, [[true, true]]);
  });

  it('tells of a renewed SVID only those who read it', async () => {
    const { attach, held, sign, clock } = node();
    const caller = fakeCaller();
    const [web, api] = [attach(caller), attach(caller)];
    web.attachment.svid(web.attachment.grant().identities[0] ?? assert.fail());
    api.attachment.svid(api.attachment.grant().identities[1] ?? assert.fail());
    sign(held.find(({ id }) => id === WEB));
    await clock.advance(5);
    assert.deepEqual([web.reader.looks, api.reader.looks], [1, 0]);
  });

  it('looks at the process before it tells of a renewal: one that has changed gets none', async () => {
    const { attach, held, sign, clock } = node();
    const process = fakeCaller();
    let looks = 0;
    const caller = {
      ...process,
      isUnchanged() {
        if (++looks > 1) process.kill(new IdentityError('ERR_PEER_GONE', 'it has dropped a group'));
        return looks === 1;
      },
    };
    const { attachment, reader } = attach(caller);
    attachment.svid(attachment.grant().identities[0] ?? assert.fail());
    sign(held[0]);
    await clock.advance(5);
    assert.deepEqual([looks, reader.looks], [0, 1], 'a newcomer was looked at a moment ago');
    sign(held[0], '02');
    await clock.advance(5);
    assert.deepEqual([looks, reader.looks], [1, 2]);
    sign(held[0], '03');
    await clock.advance(5);
    assert.equal(reader.looks, 2);
    assert.equal(reader.reason?.code, 'ERR_PEER_GONE');
  });

  it('tells of a bundle only those who read it', async () => {
    const { attach, changeBundle } = node();
    const [own, partner, none] = [attach(), attach(), attach()];
    own.attachment.bundle(OWN);
    own.attachment.bundle(OWN);
    partner.attachment.bundle(PARTNER);
    await changeBundle(OWN);
    assert.deepEqual(
      [own, partner, none].map(({ reader }) => reader.looks),
      [1, 0, 0],
    );
    await changeBundle(PARTNER);
    assert.deepEqual(
      [own, partner, none].map(({ reader }) => reader.looks),
      [1, 1, 0],
    );
  });

  it('tells of a grant only the readers of processes whose grant changed', async () => {
    const { attach, grant, matchWith } = node();
    const [a, b] = [attach(fakeCaller(1, 1000)), attach(fakeCaller(2, 2000))];
    matchWith((selectors) =>
      selectors.includes('unix:uid:1000' as Selector) ? [] : [entitlement(WEB), entitlement(API)],
    );
    await grant();
    assert.deepEqual([a.reader.looks, b.reader.looks], [1, 0]);
    assert.deepEqual(a.attachment.grant().identities, []);
    assert.equal(b.attachment.grant().identities.length, 2);
  });

  it('says nothing when another policy grants the same', async () => {
    const { attach, grant } = node();
    const { reader } = attach();
    await grant(entitlement(WEB, { source: 'other.yaml:1' }), entitlement(API));
    assert.equal(reader.looks, 0);
  });

  it('gives every process its new grant, however many there are', async () => {
    const { attach, grant, clock } = node();
    const all = Array.from({ length: 500 }, (_, n) => attach(fakeCaller(n)));
    await grant(entitlement(API));
    for (let n = 0; n < 20; n++) await clock.advance(5);
    for (const { attachment, reader } of all) {
      assert.equal(attachment.grant().identities[0]?.id, API);
      assert.equal(reader.looks, 1);
    }
  });

  it('gives all their new grant also when changes come faster than it gets round', async () => {
    const { attach, matchWith, change } = node();
    const all = Array.from({ length: 1000 }, (_, n) => attach(fakeCaller(n)));
    matchWith(() => []);
    for (let n = 0; n < 100; n++) {
      change();
      await settle();
    }
    const kept = all.filter(({ attachment }) => attachment.grant().identities.length > 0);
    assert.equal(kept.length, 0);
  });

  it('begins no stream with a grant that a change has made old', () => {
    const { attach, matchWith, change } = node();
    const callers = Array.from({ length: 100 }, (_, n) => fakeCaller(n));
    for (const caller of callers) attach(caller);
    matchWith(() => []);
    change();
    for (const caller of callers) {
      assert.deepEqual(attach(caller).attachment.grant().identities, []);
    }
  });

  it('begins none either when it cannot be computed anew, also once its turn is over', async () => {
    const { attach, grant, matchWith } = node();
    const { caller, attachment } = attach();
    matchWith(() => {
      throw new Error('broken');
    });
    await grant();
    assert.deepEqual(attachment.grant().identities, []);
    assert.throws(() => attach(caller), /broken/);
    matchWith(() => [entitlement(WEB)]);
    assert.equal(attach(caller).attachment.grant().identities.length, 1);
    assert.equal(attachment.grant().identities.length, 1);
  });

  it('looks only at the processes that a change is for', async () => {
    const { attach, matchWith, change } = node();
    for (let n = 0; n < 50; n++) attach(inPod(`pod-${n % 25}`, n));
    attach(fakeCaller(50));
    const asked: string[] = [];
    matchWith((selectors) => {
      asked.push(...selectors);
      return [];
    });
    change('k8s:pod-uid:pod-7' as Selector);
    await settle();
    assert.deepEqual(asked, ['k8s:pod-uid:pod-7', 'k8s:pod-uid:pod-7']);
  });

  it('lets pods take turns, whatever users their processes are, and users in no pod', async () => {
    const { attach, matchWith, change } = node();
    attach(inPod('victim', 1, 1000));
    attach(fakeCaller(2, 1000));
    // As many users as processes, and as many of the victim's own user.
    for (let n = 0; n < 500; n++) attach(inPod('attacker', 1000 + n, 2000 + n));
    for (let n = 0; n < 500; n++) attach(inPod('attacker', 2000 + n, 1000));
    const asked: string[] = [];
    matchWith((selectors) => {
      asked.push(selectors.join());
      return [];
    });
    change();
    await settle();
    assert.deepEqual(asked.slice(0, 4), [
      'k8s:pod-uid:attacker',
      'unix:uid:1000',
      'k8s:pod-uid:victim',
      'k8s:pod-uid:attacker',
    ]);
  });

  it('tells pods in turn, whatever users their processes are', async () => {
    const { attach, clock, grant } = node();
    const told: string[] = [];
    const read = (caller: ReturnType<typeof inPod>) => {
      const reader = new FakeReader();
      reader.refresh = () => void told.push(caller.selectors.join());
      attach(caller, reader);
    };
    read(inPod('victim', 1));
    for (let n = 0; n < 8; n++) read(inPod('attacker', 10 + n, 2000 + n));
    for (let n = 0; n < 8; n++) read(inPod('attacker', 20 + n));
    await grant(entitlement(API));
    await clock.advance(5);
    assert.equal(told.length, 17);
    assert.ok(told.indexOf('k8s:pod-uid:victim') <= 1, told.join());
  });

  it('holds the changed identity before it lets go of the former', async () => {
    const { attach, held, grant } = node();
    const { attachment } = attach();
    attachment.svid(attachment.grant().identities[0] ?? assert.fail());
    await grant(entitlement(WEB, { x509SvidTtlMs: 60_000 }));
    attachment.svid(attachment.grant().identities[0] ?? assert.fail());
    assert.deepEqual(
      held.map(({ ttlMs, released }) => [ttlMs, released]),
      [
        [undefined, true],
        [60_000, false],
      ],
    );
  });

  it('lets go of what is not kept', () => {
    const { attach, held } = node();
    const { attachment } = attach();
    for (const identity of attachment.grant().identities) attachment.svid(identity);
    attachment.keep(new Set([API]));
    assert.deepEqual(
      held.map(({ id, released }) => [id, released]),
      [
        [WEB, true],
        [API, false],
      ],
    );
  });

  it('ends all readers of a process that is gone, and no other', () => {
    const { attach, forgotten } = node();
    const [caller, other] = [fakeCaller(1), fakeCaller(2)];
    const [a, b, c] = [attach(caller), attach(caller), attach(other)];
    caller.kill(new IdentityError('ERR_PEER_GONE', 'pid 1 ended'));
    assert.equal(a.reader.reason?.message, 'pid 1 ended');
    assert.equal(b.reader.reason?.code, 'ERR_PEER_GONE');
    assert.equal(c.reader.reason, undefined);
    assert.deepEqual(forgotten, ['process 1']);
  });

  it('ends the other readers when one fails to end', () => {
    const { attach, errors } = node();
    const caller = fakeCaller();
    const bad = new FakeReader();
    bad.gone = () => {
      throw new Error('broken');
    };
    attach(caller, bad);
    const { reader } = attach(caller);
    caller.kill();
    assert.equal(errors.length, 1);
    assert.ok(reader.reason);
  });

  it('attaches nobody to a process that is gone', () => {
    const { attach } = node();
    const caller = fakeCaller();
    caller.kill(new IdentityError('ERR_PEER_GONE', 'pid 1 ended'));
    assert.throws(() => attach(caller), { code: 'ERR_PEER_GONE' });
  });

  it('takes the grants when the policy fails, of those it fails for', async () => {
    const { attach, grant, matchWith, errors } = node();
    const [a, b] = [attach(fakeCaller(1, 1000)), attach(fakeCaller(2, 2000))];
    matchWith((selectors) => {
      if (selectors.includes('unix:uid:1000' as Selector)) throw new Error('broken');
      return [entitlement(WEB)];
    });
    await grant();
    assert.equal(errors.length, 1);
    assert.deepEqual(a.attachment.grant().identities, []);
    assert.equal(a.reader.looks, 1, 'an open stream is told');
    assert.deepEqual(b.attachment.grant().identities.length, 1);
  });

  it('takes the grants when a process has changed and the policy fails for it', () => {
    const { attach, matchWith, errors } = node();
    let changed = (): void => assert.fail('nobody listens');
    const onChange = (listener: () => void) => {
      changed = listener;
      return () => undefined;
    };
    const { attachment } = attach({ ...fakeCaller(1, 1000), onChange });
    matchWith(() => {
      throw new Error('broken');
    });
    changed();
    assert.equal(errors.length, 1);
    assert.deepEqual(attachment.grant().identities, []);
  });

  it('keeps nothing of a reader that closed', async () => {
    const { attach, held, sign, changeBundle, grant, clock } = node();
    const { attachment, reader, caller } = attach();
    attachment.svid(attachment.grant().identities[0] ?? assert.fail());
    attachment.bundle(OWN);
    attachment.close();
    assert.equal(held[0]?.released, true);
    sign(held[0]);
    const before = reader.looks;
    sign(held[0], '02');
    await changeBundle(OWN);
    await grant();
    await clock.advance(5);
    caller.kill();
    assert.deepEqual([reader.looks - before, reader.reason], [0, undefined]);
  });

  it('follows nothing any more after it was closed', () => {
    const { workloads, subscriptions } = node();
    workloads.close();
    assert.equal(subscriptions(), 0);
  });
});
