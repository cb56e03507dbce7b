import type { Selector } from '../identity/selector.ts';
import type { Peer } from './peer.ts';

/**
 * One way to learn about a process. It answers at once where it can: a promise costs as much as
 * reading a file. Throws, or rejects with, `ERR_ATTESTATION` when it cannot say; an attestor that
 * has nothing to say answers no selectors.
 */
export interface Attestor {
  readonly name: 'unix';
  attest(
    peer: Peer,
    options: { signal: AbortSignal },
  ): readonly Selector[] | Promise<readonly Selector[]>;
}

/**
 * What all of them say of a process: sorted, without duplicates. One that fails fails all: fewer
 * selectors than there are could match a wider entry.
 */
export async function gatherSelectors(
  attestors: readonly Attestor[],
  peer: Peer,
  options: { signal: AbortSignal },
): Promise<readonly Selector[]> {
  const answers = await Promise.all(
    attestors.map(async (attestor) => attestor.attest(peer, options)),
  );
  return [...new Set(answers.flat())].sort();
}
