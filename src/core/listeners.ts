/** A set of callbacks for one event; a callback that throws does not keep the others from running. */
export interface Listeners<T> {
  /** The returned function takes the listener away; from then on it is not called again. */
  add(listener: (value: T) => void): () => void;
  /** Calls those that are there now, in the order they came. */
  emit(value: T): void;
}

export function createListeners<T>(onError: (thrown: unknown) => void): Listeners<T> {
  // By registration, so that one function added twice is taken away once at a time.
  const listeners = new Map<symbol, (value: T) => void>();
  return {
    add(listener) {
      const key = Symbol();
      listeners.set(key, listener);
      return () => void listeners.delete(key);
    },
    emit(value) {
      for (const [key, listener] of [...listeners]) {
        // Taken away meanwhile by one that ran before it.
        if (!listeners.has(key)) continue;
        try {
          listener(value);
        } catch (thrown) {
          onError(thrown);
        }
      }
    },
  };
}
