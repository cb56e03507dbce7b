import type { Selector } from '../identity/selector.ts';
import type { Peer } from './peer.ts';

/** What an attestor says of a process. */
export interface Evidence {
  readonly selectors: readonly Selector[];
  /**
   * Whether it still says the same: asked for each stream and push, so within microseconds. Absent:
   * for as long as the process keeps its user and group.
   */
  readonly holds?: () => boolean;
  /**
   * The same, asked for each further stream, before a renewal, and now and then: it may take as long
   * as a look at a file. What it throws counts as no.
   */
  readonly agrees?: () => boolean;
}

/**
 * One way to learn about a process. It answers at once where it can: a promise costs as much as
 * reading a file. Throws, or rejects with, `ERR_ATTESTATION` when it cannot say; an attestor that
 * has nothing to say answers no selectors.
 */
export interface Attestor {
  readonly name: 'unix';
  attest(peer: Peer, options: { signal: AbortSignal }): Evidence | Promise<Evidence>;
}

/**
 * What all of them say of a process: sorted, without duplicates. One that fails fails all: fewer
 * selectors than there are could match a wider entry.
 */
export async function gatherEvidence(
  attestors: readonly Attestor[],
  peer: Peer,
  options: { signal: AbortSignal },
): Promise<Evidence> {
  const answers = await Promise.all(
    attestors.map(async (attestor) => attestor.attest(peer, options)),
  );
  const selectors = answers.flatMap((answer) => answer.selectors);
  return {
    selectors: [...new Set(selectors)].sort(),
    ...together('holds', answers),
    ...together('agrees', answers),
  };
}

/** Nothing when nobody has anything to ask: then nobody needs to. */
function together(name: 'holds' | 'agrees', answers: readonly Evidence[]): Partial<Evidence> {
  const checks = answers.flatMap(({ [name]: check }) => (check ? [check] : []));
  return checks.length === 0 ? {} : { [name]: () => checks.every((check) => check()) };
}
