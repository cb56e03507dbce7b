import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { WEB } from '../../test/support/identities.ts';
import type { SentResource } from './subscribed.ts';
import { Subscription } from './subscription.ts';

const resource = (name: string, version: string): SentResource => ({
  name,
  version,
  svid: undefined,
});

/** A subscription to one name with a helper to send versions of it. */
function watching(...names: string[]) {
  const subscription = new Subscription();
  subscription.replace(new Set(names));
  let nonces = 0;
  return {
    subscription,
    send: (version: string, name = names[0] ?? ''): string => {
      const nonce = `n${++nonces}`;
      subscription.sent(nonce, [resource(name, version)], nonces);
      return nonce;
    },
    only: () => {
      const [first] = subscription.resources();
      assert.ok(first);
      return first;
    },
  };
}

describe('Subscription', () => {
  it('has nothing due before a name is watched', () => {
    const subscription = new Subscription();
    assert.equal(subscription.isDue('default', 'v1'), false);
    assert.equal(subscription.lastNonce, undefined);
  });

  it('has content due once, and again only when it is another', () => {
    const { subscription, send } = watching('default');
    assert.equal(subscription.isDue('default', 'v1'), true);
    send('v1');
    assert.equal(subscription.isDue('default', 'v1'), false);
    assert.equal(subscription.isDue('default', 'v2'), true);
    assert.equal(subscription.wasSent('default'), true);
  });

  it('takes the answer to the newest response for an acknowledgement', () => {
    const { subscription, send, only } = watching('default');
    assert.equal(subscription.answered(send('v1'), undefined), 'current');
    assert.equal(only().acknowledged, 'v1');
    assert.equal(subscription.unanswered, 0);
  });

  it('keeps the last good version and the words of a refusal', () => {
    const { subscription, send, only } = watching('default');
    subscription.answered(send('good'), undefined);
    assert.equal(subscription.answered(send('bad'), 'key mismatch'), 'current');
    assert.equal(only().acknowledged, 'good');
    assert.deepEqual(only().history?.latest, { version: 'bad', text: 'key mismatch' });
  });

  it('never has refused content due again, not even after other content', () => {
    const { subscription, send } = watching('default');
    subscription.answered(send('bad'), 'no');
    assert.equal(subscription.isDue('default', 'bad'), false);
    subscription.answered(send('good'), undefined);
    assert.equal(subscription.isDue('default', 'bad'), false);
    subscription.answered(send('worse'), 'no');
    assert.equal(subscription.isDue('default', 'bad'), false);
    assert.equal(subscription.isDue('default', 'good'), true);
  });

  it('does not take an acknowledgement of the refused bytes for a recovery', () => {
    // Envoy keeps the hash of what it refused: sent again it is "unchanged", hence accepted.
    const { subscription, send, only } = watching('default');
    subscription.answered(send('good'), undefined);
    subscription.answered(send('bad'), 'no');
    subscription.answered(send('bad'), undefined);
    assert.equal(only().acknowledged, 'good');
    assert.equal(only().history?.latest?.version, 'bad');
  });

  it('takes an acknowledgement of the previous good bytes for a recovery', () => {
    const { subscription, send, only } = watching('default');
    subscription.answered(send('good'), undefined);
    subscription.answered(send('bad'), 'no');
    subscription.answered(send('good'), undefined);
    assert.equal(only().history?.latest, undefined);
  });

  it('takes answers to responses sent back to back one by one', () => {
    const { subscription, send, only } = watching('default');
    const nonces = ['v1', 'v2', 'v3'].map((version) => send(version));
    assert.deepEqual(
      nonces.map((nonce, n) => subscription.answered(nonce, n === 1 ? 'no' : undefined)),
      ['earlier', 'earlier', 'current'],
    );
    assert.equal(only().acknowledged, 'v3');
  });

  it('ignores a nonce it never sent, or whose answer it has', () => {
    const { subscription, send, only } = watching('default');
    const first = send('v1');
    subscription.answered(first, undefined);
    send('v2');
    for (const nonce of ['', 'bogus', first]) {
      assert.equal(subscription.answered(nonce, 'no'), 'stale', nonce);
    }
    assert.equal(only().history?.latest, undefined);
    assert.equal(only().acknowledged, 'v1');
  });

  it('counts an answer that comes twice once', () => {
    const { subscription, send, only } = watching('default');
    const nonce = send('v1');
    subscription.answered(nonce, undefined);
    assert.equal(subscription.answered(nonce, 'changed my mind'), 'current');
    assert.equal(only().acknowledged, 'v1');
    assert.equal(only().history?.latest, undefined);
  });

  it('answers a name anew that was dropped and is asked for again', () => {
    const { subscription, send } = watching('default');
    subscription.answered(send('v1'), undefined);
    subscription.replace(new Set());
    assert.equal(subscription.isDue('default', 'v1'), false);
    subscription.replace(new Set(['default']));
    assert.equal(subscription.isDue('default', 'v1'), true);
  });

  it('lets an answer to a dropped name pass', () => {
    const { subscription, send } = watching('default', 'ROOTCA');
    const nonce = send('v1');
    subscription.replace(new Set(['ROOTCA']));
    assert.equal(subscription.answered(nonce, 'no'), 'current');
    assert.deepEqual([...subscription.names()], ['ROOTCA']);
  });

  it('says whether the names changed, whatever their order', () => {
    const subscription = new Subscription();
    assert.equal(subscription.replace(new Set(['a', 'b'])), true);
    assert.equal(subscription.replace(new Set(['b', 'a'])), false);
    assert.equal(subscription.replace(new Set(['b'])), true);
    assert.equal(subscription.replace(new Set(['c'])), true);
  });

  it('forgets the oldest responses of a proxy that never answers', () => {
    const { subscription, send } = watching('default');
    const first = send('v0');
    for (let n = 1; n < 1000; n++) send(`v${n}`);
    assert.ok(subscription.unanswered <= 32, `${subscription.unanswered}`);
    assert.equal(subscription.answered(first, undefined), 'stale');
  });

  it('remembers what was refused when a name is dropped and asked for again', () => {
    const { subscription, send, only } = watching('default');
    subscription.answered(send('v1'), undefined);
    subscription.answered(send('v2'), 'no');
    const drops = [
      () => subscription.unsubscribe('default'),
      () => void subscription.replace(new Set(['ROOTCA'])),
    ];
    for (const drop of drops) {
      drop();
      subscription.replace(new Set(['default']));
      assert.equal(subscription.isDue('default', 'v2'), false);
      assert.equal(subscription.isDue('default', 'v1'), true);
      subscription.answered(send('v2'), undefined);
      assert.equal(only().acknowledged, undefined, 'no recovery by the same bytes');
    }
  });

  it('knows since when there is no answer, and what is in use meanwhile', () => {
    const subscription = new Subscription();
    subscription.replace(new Set(['default']));
    const svid = (serial: string) => ({
      ...{
        id: WEB,
        serial,
        authorityId: 'aa',
        notBeforeMs: 0,
        notAfterMs: Number(serial),
        renewAtMs: 0,
      },
    });
    const send = (nonce: string, nowMs: number) =>
      subscription.sent(
        nonce,
        [{ name: 'default', version: nonce, svid: svid(nonce.slice(1)) }],
        nowMs,
      );
    const shown = () => {
      const { oldestMs, notAfterMs } = subscription.pushes();
      return [oldestMs, notAfterMs];
    };
    send('n1', 1000);
    subscription.answered('n1', undefined);
    assert.deepEqual(shown(), [undefined, 1]);
    send('n2', 2000);
    send('n3', 3000);
    assert.deepEqual(shown(), [2000, 1], 'the first one without an answer');
    subscription.answered('n2', undefined);
    assert.deepEqual(shown(), [3000, 2]);
    subscription.answered('n3', 'no');
    assert.deepEqual(shown(), [undefined, 2], 'what was refused is not in use');
  });

  it('refuses all of a response, and keeps the words when a name is asked for again', () => {
    const subscription = new Subscription();
    for (const name of ['default', 'ROOTCA']) subscription.subscribe(name);
    const resources = ['default', 'ROOTCA'].map((name) => resource(name, `${name} 1`));
    subscription.sent('n1', resources, 0);
    assert.deepEqual(subscription.sentWith('n1'), ['default', 'ROOTCA']);
    subscription.answered('n1', 'no');
    subscription.unsubscribe('ROOTCA');
    subscription.askAgain('ROOTCA');
    assert.equal(subscription.pushes().refused, 2);
    assert.equal(subscription.isDue('ROOTCA', 'ROOTCA 1'), false);
    assert.equal(subscription.isDue('ROOTCA', 'ROOTCA 2'), true);
  });

  it('remembers the refusals of a bounded number of names', () => {
    const { subscription, send } = watching('default');
    for (let n = 0; n < 1000; n++) {
      subscription.replace(new Set([`name ${n}`]));
      subscription.sent(`n${n}`, [{ name: `name ${n}`, version: 'v', svid: undefined }], 0);
      subscription.answered(`n${n}`, 'no');
    }
    subscription.replace(new Set(['name 0', 'name 998']));
    assert.deepEqual(
      ['name 0', 'name 998'].map((name) => subscription.isDue(name, 'v')),
      [true, false],
    );
    assert.ok(send('w'));
  });

  it('remembers a bounded number of refused versions', () => {
    const { subscription, send, only } = watching('default');
    for (let n = 0; n < 1000; n++) subscription.answered(send(`v${n}`), 'no');
    assert.ok((only().history?.size ?? 0) <= 16);
    assert.equal(subscription.isDue('default', 'v999'), false);
  });

  it('agrees with a model: due is what was neither sent last nor refused', () => {
    const version = fc.constantFrom('a', 'b', 'c');
    const step = fc.oneof(
      fc.record({ do: fc.constant('send' as const), version }),
      fc.record({ do: fc.constant('ack' as const) }),
      fc.record({ do: fc.constant('nack' as const) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const { subscription, send, only } = watching('default');
        const refused = new Set<string>();
        const open: { nonce: string; version: string }[] = [];
        let sent: string | undefined;
        let good: string | undefined;
        for (const one of steps) {
          if (one.do === 'send') {
            if (!subscription.isDue('default', one.version)) continue;
            open.push({ nonce: send(one.version), version: one.version });
            sent = one.version;
          } else {
            const oldest = open.shift();
            if (!oldest) continue;
            subscription.answered(oldest.nonce, one.do === 'nack' ? 'no' : undefined);
            if (one.do === 'nack') refused.add(oldest.version);
            else if (!refused.has(oldest.version)) good = oldest.version;
          }
          for (const v of ['a', 'b', 'c']) {
            assert.equal(subscription.isDue('default', v), sent !== v && !refused.has(v));
          }
          assert.equal(only().acknowledged, good);
        }
      }),
    );
  });
});

describe('Subscription of everything', () => {
  const names = (subscription: Subscription) => [...subscription.names()].sort();

  it('follows what everything is, and keeps what was asked for by name', () => {
    const subscription = new Subscription();
    assert.equal(subscription.replace(new Set(['named']), true), true);
    subscription.follow(new Set(['a', 'b']));
    subscription.follow(new Set(['b', 'c']));
    assert.deepEqual(names(subscription), ['b', 'c', 'named']);
    subscription.subscribe('c');
    subscription.follow(new Set());
    assert.deepEqual(names(subscription), ['c', 'named']);
  });

  it('remembers what was sent under a name that becomes a part of it', () => {
    const { subscription, send } = watching('a', 'b');
    send('v1', 'a');
    send('v1', 'b');
    assert.equal(subscription.replace(new Set(), true), true);
    subscription.follow(new Set(['a', 'c']));
    assert.deepEqual(names(subscription), ['a', 'c']);
    assert.equal(subscription.isDue('a', 'v1'), false);
    assert.equal(subscription.replace(new Set(['a'])), true);
    assert.deepEqual([names(subscription), subscription.wildcard], [['a'], false]);
    assert.equal(subscription.isDue('a', 'v1'), false);
  });

  it('does not change by being asked for again', () => {
    const subscription = new Subscription();
    subscription.replace(new Set(), true);
    subscription.follow(new Set(['a']));
    assert.equal(subscription.replace(new Set(), true), false);
    assert.deepEqual(names(subscription), ['a']);
  });
});
