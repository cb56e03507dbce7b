import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { ApiRefusal } from '../kubernetes/api.ts';
import type { Fields } from '../kubernetes/fields.ts';
import { createCollection, type CollectionParts } from './collection.ts';
import { whyFailed } from './refusals.ts';

const { signal } = new AbortController();

function collectionOf(api: Partial<CollectionParts['api']>) {
  const never = () => assert.fail('this is not asked for');
  return createCollection({
    api: { get: never, send: never, lines: never, delete: never, ...api },
    clock: new FakeClock(),
    path: '/apis/x/v1/things',
    rule: (verbs) => verbs.join(),
  });
}

/** What a watch that sends these lines ends with. */
async function watch(lines: readonly string[]): Promise<{ seen: Fields[]; thrown: unknown }> {
  const seen: Fields[] = [];
  const collection = collectionOf({
    lines: (_, line) => Promise.resolve().then(() => lines.forEach(line)),
  });
  const see = (object: Fields) => seen.push(object) < 0;
  const thrown = await collection
    .watch('mine', '1', see, { signal })
    .catch((error: unknown) => error);
  return { seen, thrown };
}

const event = (type: unknown, name: unknown, more: object = {}) =>
  JSON.stringify({ type, object: { metadata: { name }, ...more } });

describe('the watch of a collection', () => {
  it('tells of the one object and of no other', async () => {
    const { seen } = await watch([event('MODIFIED', 'mine', { n: 1 }), event('ADDED', 'other')]);
    assert.deepEqual(seen, [{ metadata: { name: 'mine' }, n: 1 }, {}]);
  });

  it('ends when the object is deleted, and with what the server says', async () => {
    assert.match(String((await watch([event('DELETED', 'mine')])).thrown), /deleted before/);
    assert.equal((await watch([event('DELETED', 'other')])).thrown, undefined);
    const error = JSON.stringify({ type: 'ERROR', object: { code: 410, message: 'too old' } });
    const { thrown } = await watch([error]);
    assert.ok(thrown instanceof ApiRefusal);
    assert.equal(thrown.code, 410);
  });

  it('survives every line', async () => {
    const line = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.json(),
      fc
        .tuple(fc.constantFrom('ADDED', 'MODIFIED', 'DELETED', 'ERROR', 7), fc.jsonValue())
        .map(([type, name]) => event(type, name)),
      fc.jsonValue().map((object) => JSON.stringify({ type: 'ERROR', object })),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 5 }), async (lines) => {
        const { seen, thrown } = await watch(lines);
        assert.ok(thrown === undefined || thrown instanceof Error);
        assert.doesNotMatch(whyFailed(thrown, { to: 'look', rule: 'get' }), /[\p{C}\p{Zl}\p{Zp}]/u);
        // Nobody else's object is taken for ours.
        for (const { metadata } of seen) {
          if (metadata !== undefined) assert.equal((metadata as Fields)['name'], 'mine');
        }
      }),
    );
  });
});

describe('the list of a collection', () => {
  it('names what has a name, whatever the answer is', async () => {
    const answer = fc.oneof(
      fc.jsonValue(),
      fc.record({
        items: fc.oneof(
          fc.jsonValue(),
          fc.array(
            fc.record({ metadata: fc.oneof(fc.jsonValue(), fc.record({ name: fc.jsonValue() })) }),
          ),
        ),
      }),
    );
    await fc.assert(
      fc.asyncProperty(answer, async (given) => {
        const collection = collectionOf({ get: () => Promise.resolve(given) });
        const names = await collection.labelled('a=b', { signal });
        assert.ok(names.every((name) => typeof name === 'string' && name !== ''));
      }),
    );
  });
});
