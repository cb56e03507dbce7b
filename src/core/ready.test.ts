import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeLogger } from '../../test/support/issuer.ts';
import { announceReady, createReadiness } from './ready.ts';

describe('createReadiness()', () => {
  it('is ready while nobody gave a reason to wait', () => {
    assert.deepEqual(createReadiness().reasons(), []);
  });

  it('names what it waits for, in the order given, until each is taken away', () => {
    const readiness = createReadiness();
    const first = readiness.block('the policy');
    const second = readiness.block('the issuer');
    assert.deepEqual(readiness.reasons(), ['the policy', 'the issuer']);
    first();
    assert.deepEqual(readiness.reasons(), ['the issuer']);
    second();
    assert.deepEqual(readiness.reasons(), []);
  });

  it('stays blocked by one of two equal reasons, though the other is taken away twice', () => {
    const readiness = createReadiness();
    const first = readiness.block('an authority');
    readiness.block('an authority');
    first();
    first();
    assert.deepEqual(readiness.reasons(), ['an authority']);
  });

  it('gives out reasons that later changes leave alone', () => {
    const readiness = createReadiness();
    const release = readiness.block('the policy');
    const seen = readiness.reasons();
    release();
    assert.deepEqual(seen, ['the policy']);
  });
});

describe('announceReady()', () => {
  const start = (reasons: () => readonly string[]) => {
    const [clock, log, end] = [new FakeClock(), new FakeLogger(), new AbortController()];
    const said = announceReady(reasons, { version: '1' }, { clock, log, signal: end.signal });
    const lines = () => log.lines.map(({ message, fields }) => [message, fields.reason]);
    return { clock, lines, end, said };
  };

  it('says at once that all is ready', () => {
    assert.deepEqual(start(() => []).lines(), [['credence is ready', undefined]]);
  });

  it('says what it waits for, and is ready when that has come', async () => {
    const readiness = createReadiness();
    const done = readiness.block('the root is new');
    const { clock, lines, said } = start(() => readiness.reasons());
    await clock.advance(10_000);
    const waits = ['credence has started and is not ready yet', 'the root is new'];
    assert.deepEqual(lines(), [waits]);
    done();
    await clock.advance(1000);
    await said;
    assert.deepEqual(lines(), [waits, ['credence is ready', undefined]]);
  });

  it('stops waiting when it is told to', async () => {
    const { end, said, lines } = start(() => ['never']);
    end.abort(new Error('closed'));
    await assert.rejects(said, /closed/);
    assert.equal(lines().length, 1);
  });
});
