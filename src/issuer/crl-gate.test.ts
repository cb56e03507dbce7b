import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createListeners } from '../core/listeners.ts';
import { createCrlGate } from './crl-gate.ts';

function setup() {
  const fail = (thrown: unknown) => assert.fail(String(thrown));
  const [readerChanges, crlChanges] = [
    createListeners<undefined>(fail),
    createListeners<undefined>(fail),
  ];
  const state = { readers: 3, behind: 0, covers: true };
  const gate = createCrlGate(
    {
      count: () => ({ readers: state.readers, behind: state.behind }),
      onChange: (listener) => readerChanges.add(() => listener()),
    },
    fail,
  );
  const watch = () =>
    gate.watch({
      covers: () => state.covers,
      onChange: (listener) => crlChanges.add(() => listener()),
    });
  return { state, gate, watch, readerChanges, crlChanges };
}

describe('createCrlGate()', () => {
  it('passes on what readers say, as long as no CRL is missing', () => {
    const { state, gate, watch } = setup();
    assert.deepEqual(gate.readers.count(), { readers: 3, behind: 0 });
    watch();
    assert.deepEqual(gate.readers.count(), { readers: 3, behind: 0 });
    state.behind = 2;
    assert.deepEqual(gate.readers.count(), { readers: 3, behind: 2 });
  });

  it('has one behind while a CRL is missing, readers or none', () => {
    const { state, gate, watch } = setup();
    watch();
    state.covers = false;
    assert.deepEqual(gate.readers.count(), { readers: 3, behind: 1 });
    state.behind = 2;
    assert.deepEqual(gate.readers.count(), { readers: 3, behind: 2 });
    Object.assign(state, { readers: 0, behind: 0 });
    assert.deepEqual(gate.readers.count(), { readers: 1, behind: 1 });
  });

  it('tells of readers and of CRLs, until it is told to stop', () => {
    const { gate, watch, readerChanges, crlChanges } = setup();
    let told = 0;
    const stop = gate.readers.onChange(() => told++);
    watch();
    readerChanges.emit(undefined);
    crlChanges.emit(undefined);
    assert.equal(told, 2);
    stop();
    readerChanges.emit(undefined);
    crlChanges.emit(undefined);
    assert.equal(told, 2);
  });
});
