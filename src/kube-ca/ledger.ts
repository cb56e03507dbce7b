/** What is remembered of requests between one order and the next. */
export interface Ledger {
  /** One that was neither signed nor refused when it was last looked at. */
  undecided: string | undefined;
  /** Whether the answer to it is not to be used again. */
  isSpent(name: string): boolean;
  spend(name: string): void;
}

/** The oldest are forgotten: one of a key of long ago is not asked for again. */
const MAX = 256;

export function createLedger(): Ledger {
  const spent = new Set<string>();
  return {
    undecided: undefined,
    isSpent: (name) => spent.has(name),
    spend(name) {
      spent.add(name);
      const [oldest] = spent;
      if (spent.size > MAX && oldest !== undefined) spent.delete(oldest);
    },
  };
}
