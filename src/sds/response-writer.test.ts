import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { fakeSvid, WEB } from '../../test/support/identities.ts';
import type { SdsMetrics } from './metrics.ts';
import type { Ready } from './resolve.ts';
import { ResponseWriter } from './response-writer.ts';
import { Subscription } from './subscription.ts';

/** A writer to `default` whose responses are the versions in them. */
function writing() {
  const clock = new FakeClock();
  const events: string[] = [];
  const responses: string[] = [];
  const callbacks: ((error?: Error | null) => void)[] = [];
  const subscription = new Subscription();
  subscription.replace(new Set(['default']));
  const sink = {
    write(bytes: Buffer, done: () => void) {
      responses.push(bytes.toString());
      callbacks.push(done);
      return true;
    },
  };
  const metrics: SdsMetrics = {
    opened: () => undefined,
    closed: () => undefined,
    pushed: (kind, result) => events.push(`${kind} ${result}`),
    ended: () => undefined,
    denied: () => undefined,
    limited: () => undefined,
    firstSecret: (ms) => events.push(`first after ${ms}`),
    rotated: (ms) => events.push(`rotated after ${ms}`),
  };
  let nonces = 0;
  const writer = new ResponseWriter(
    sink,
    {
      kind: 'sotw',
      saysAbsence: false,
      encode: (nonce, secrets) =>
        Buffer.from([nonce, ...secrets.map(({ version }) => version)].join(' ')),
    },
    subscription,
    { clock, metrics, nextNonce: () => `n${++nonces}` },
    () => events.push('again'),
  );
  const ready = (version: string, dueAtMs?: number): Ready => ({
    secret: { name: 'default', version, resource: Buffer.alloc(0) },
    held: { svid: fakeSvid(WEB), renewAtMs: 0, dueAtMs },
  });
  const done = (error?: Error) => callbacks.shift()?.(error);
  return { clock, events, responses, subscription, writer, ready, done };
}

describe('ResponseWriter', () => {
  it('writes what differs, and says when the first secret went out and how late a renewal', async () => {
    const { clock, events, responses, subscription, writer, ready, done } = writing();
    await clock.advance(7);
    writer.write([ready('v1', clock.now() - 100)]);
    done();
    writer.write([ready('v1')]);
    writer.write([ready('v2', clock.now() - 40)]);
    assert.deepEqual(responses, ['n1 v1', 'n2 v2']);
    assert.deepEqual(events, ['sotw sent', 'first after 7', 'sotw sent', 'rotated after 40']);
    assert.equal(subscription.lastNonce, 'n2');
  });

  it('has news wait for the response in flight, and asks for them once', () => {
    const { events, writer, ready, done } = writing();
    assert.equal(writer.postpone(), false);
    writer.write([ready('v1')]);
    assert.equal(writer.stale, false);
    assert.equal(writer.postpone(), true);
    assert.equal(writer.postpone(), true);
    assert.equal(writer.stale, true);
    done();
    assert.equal(events.filter((event) => event === 'again').length, 1);
    assert.deepEqual([writer.stale, writer.postpone()], [false, false]);
  });

  it('keeps other content back for longer after each refusal in a row, and then asks again', async () => {
    const { clock, events, responses, subscription, writer, ready, done } = writing();
    const attempt = (version: string) => {
      writer.write([ready(version)]);
      done();
      return responses.at(-1)?.endsWith(` ${version}`);
    };
    const refuse = () => subscription.answered(subscription.lastNonce ?? '', 'no');
    assert.equal(attempt('v1'), true);
    for (const [n, pauseMs] of [1000, 2000, 4000].entries()) {
      refuse();
      assert.equal(attempt(`v${n + 2}`), false);
      await clock.advance(pauseMs - 1);
      assert.equal(events.includes('again'), false);
      await clock.advance(1);
      assert.equal(events.pop(), 'again');
      assert.equal(attempt(`v${n + 2}`), true);
    }
    subscription.answered(subscription.lastNonce ?? '', undefined);
    assert.equal(attempt('v9'), true);
  });

  it('does not ask again for what was kept back when it is closed', async () => {
    const { clock, events, subscription, writer, ready, done } = writing();
    writer.write([ready('v1')]);
    done();
    subscription.answered(subscription.lastNonce ?? '', 'no');
    writer.write([ready('v2')]);
    writer.close();
    await clock.advance(60_000);
    assert.equal(events.includes('again'), false);
  });

  it('counts a response that did not get through', () => {
    const { events, writer, ready, done } = writing();
    writer.write([ready('v1')]);
    done(new Error('write after end'));
    assert.equal(events.at(-1), 'sotw error');
    assert.equal(writer.postpone(), false);
  });
});
