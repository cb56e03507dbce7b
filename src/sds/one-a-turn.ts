/**
 * Does something with each thing, never at once and with one in each turn of the event loop, in the
 * order of coming: what takes long for each does not take all the longer for who waits meanwhile.
 */
export function oneATurn<T>(act: (thing: T) => void): (thing: T) => void {
  const waiting: T[] = [];

  function next(): void {
    const thing = waiting.shift();
    if (waiting.length > 0) setImmediate(next);
    if (thing !== undefined) act(thing);
  }

  return (thing) => {
    if (waiting.push(thing) === 1) setImmediate(next);
  };
}
