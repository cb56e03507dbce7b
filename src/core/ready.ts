/** Readiness as a set of named reasons to wait; ready when none is left. */
export interface Readiness {
  /** Adds a reason; the returned function takes it away. */
  block(reason: string): () => void;
  reasons(): readonly string[];
}

export function createReadiness(): Readiness {
  const blocks = new Map<symbol, string>();
  return {
    block(reason) {
      const key = Symbol(reason);
      blocks.set(key, reason);
      return () => void blocks.delete(key);
    },
    reasons: () => [...blocks.values()],
  };
}
