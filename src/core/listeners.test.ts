import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createListeners } from './listeners.ts';

function start() {
  const errors: unknown[] = [];
  const heard: string[] = [];
  return {
    errors,
    heard,
    listeners: createListeners<number>((thrown) => errors.push(thrown)),
    hear: (name: string) => (value: number) => void heard.push(`${name}${value}`),
  };
}

describe('createListeners()', () => {
  it('tells every listener, in the order they were added', () => {
    const { listeners, heard, hear } = start();
    listeners.add(hear('a'));
    listeners.add(hear('b'));
    listeners.emit(1);
    listeners.emit(2);
    assert.deepEqual(heard, ['a1', 'b1', 'a2', 'b2']);
  });

  it('tells the others when one throws, and reports each throw', () => {
    const { listeners, errors, heard, hear } = start();
    const broken = new Error('broken');
    listeners.add(() => {
      throw broken;
    });
    listeners.add(hear('b'));
    listeners.emit(1);
    listeners.emit(2);
    assert.deepEqual(heard, ['b1', 'b2']);
    assert.deepEqual(errors, [broken, broken]);
  });

  it('does not tell one that was taken away, however often it was', () => {
    const { listeners, heard, hear } = start();
    const remove = listeners.add(hear('a'));
    listeners.add(hear('b'));
    remove();
    remove();
    listeners.emit(1);
    assert.deepEqual(heard, ['b1']);
  });

  it('does not tell one that another took away a moment before', () => {
    const { listeners, heard, hear } = start();
    listeners.add(() => remove());
    const remove = listeners.add(hear('a'));
    listeners.emit(1);
    assert.deepEqual(heard, []);
  });

  it('tells one that is added meanwhile only from the next time on', () => {
    const { listeners, heard, hear } = start();
    const remove = listeners.add(() => {
      listeners.add(hear('new'));
      remove();
    });
    listeners.emit(1);
    assert.deepEqual(heard, []);
    listeners.emit(2);
    assert.deepEqual(heard, ['new2']);
  });

  it('counts one function added twice as two, each taken away by itself', () => {
    const { listeners, heard, hear } = start();
    const listener = hear('a');
    const removeFirst = listeners.add(listener);
    listeners.add(listener);
    listeners.emit(1);
    assert.deepEqual(heard, ['a1', 'a1']);
    removeFirst();
    listeners.emit(2);
    assert.deepEqual(heard, ['a1', 'a1', 'a2']);
  });
});
