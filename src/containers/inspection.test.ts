import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { IdentityError } from '../core/errors.ts';
import { selectorFault } from '../identity/selector.ts';
import { inspected } from '../../test/support/engine.ts';
import { readInspection } from './inspection.ts';

const ID = 'ab'.repeat(32);
const DIGEST = `sha256:${'cd'.repeat(32)}`;

describe('readInspection()', () => {
  it('makes the selectors that SPIRE makes, to the letter', () => {
    const answer = inspected({
      id: ID,
      labels: { app: 'web', 'com.example/a.b': 'x:y z', empty: '' },
      env: ['PATH=/bin:/usr/bin', 'EMPTY=', 'BARE', 'QUOTED="a=b"'],
      image: 'registry.example/web:1',
      digest: DIGEST,
      pid: 42,
    });
    assert.deepEqual(readInspection(answer, ID), {
      selectors: [
        'docker:label:app:web',
        'docker:label:com.example/a.b:x:y z',
        'docker:label:empty:',
        'docker:env:PATH=/bin:/usr/bin',
        'docker:env:EMPTY=',
        'docker:env:BARE',
        'docker:env:QUOTED="a=b"',
        'docker:image_id:registry.example/web:1',
        `docker:image_config_digest:${DIGEST}`,
      ],
      initPid: 42,
    });
  });

  for (const [what, answer] of [
    ['nothing but its id', { Id: ID }],
    ['nulls', { Id: ID, Config: null, State: null, Image: null }],
    ['nulls further down', { Id: ID, Config: { Labels: null, Env: null, Image: null } }],
    ['other types', { Id: ID, Config: { Labels: ['a'], Env: 'A=b', Image: 7 }, Image: {} }],
    ['a pid that is none', { Id: ID, State: { Pid: -1 } }],
    ['a pid that is no number', { Id: ID, State: { Pid: '1' } }],
    ['labels that are no texts', { Id: ID, Config: { Labels: { a: 1, b: null }, Env: [1, null] } }],
  ] as const) {
    it(`takes ${what} for no selectors`, () => {
      const found = readInspection(answer, ID);
      assert.deepEqual(
        found.selectors.filter((text) => text !== 'docker:label:0:a'),
        [],
      );
      assert.equal(found.initPid, 0);
    });
  }

  for (const [what, answer] of [
    ['another container', inspected({ id: 'cd'.repeat(32) })],
    ['no container', { message: 'page not found' }],
    ['a list', [inspected({ id: ID })]],
    ['null', null],
    ['a text', ID],
    [
      'more labels than can be matched',
      inspected({ id: ID, env: Array.from({ length: 3000 }, (_, n) => `A${n}=`) }),
    ],
  ] as const) {
    it(`refuses ${what}`, () => {
      assert.throws(() => readInspection(answer, ID), { code: 'ERR_ATTESTATION' });
    });
  }

  it('leaves out what no policy could name', () => {
    const { selectors } = readInspection(inspected({ id: ID, env: ['A='.padEnd(5000, 'a')] }), ID);
    assert.deepEqual(selectors, ['docker:image_id:web:1']);
  });

  it('takes a label by a name that objects have for one like any other', () => {
    const answer: unknown = JSON.parse(
      `{"Id":"${ID}","Config":{"Labels":{"__proto__":"a","constructor":"b"}}}`,
    );
    assert.deepEqual(readInspection(answer, ID).selectors, [
      'docker:label:__proto__:a',
      'docker:label:constructor:b',
    ]);
  });

  it('gives valid selectors or its own error for any document', () => {
    const document = fc.record(
      {
        Id: fc.constantFrom(ID, 'x', 1),
        Image: fc.anything(),
        Config: fc.oneof(
          fc.anything(),
          fc.record({ Labels: fc.anything(), Env: fc.anything(), Image: fc.anything() }),
        ),
        State: fc.anything(),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.oneof(fc.anything(), document), (value) => {
        try {
          for (const one of readInspection(value, ID).selectors) {
            assert.equal(selectorFault(one), undefined);
          }
        } catch (thrown) {
          assert.ok(thrown instanceof IdentityError, String(thrown));
        }
      }),
    );
  });
});
