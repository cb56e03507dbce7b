import { IdentityError } from '../core/errors.ts';
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
   * as a look at a file. When it finds others to hold it may tell who follows, and agree. What it
   * throws counts as no.
   */
  readonly agrees?: () => boolean;
  /**
   * Calls back, until it is stopped, when others than these selectors hold of the process, or with
   * the reason why nothing can be said of it any more: what it was attested as is over then. After
   * `ERR_ATTESTATION` a further stream asks again, after another one none does.
   */
  readonly follow?: (tell: (now: readonly Selector[] | IdentityError) => void) => () => void;
}

/**
 * One way to learn about a process. It answers at once where it can: a promise costs as much as
 * reading a file. Throws, or rejects with, `ERR_ATTESTATION` when it cannot say; an attestor that
 * has nothing to say answers no selectors.
 */
export interface Attestor {
  readonly name: 'unix' | 'kubernetes' | 'docker' | 'systemd';
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
  return {
    selectors: union(answers.map(({ selectors }) => selectors)),
    ...together('holds', answers),
    ...together('agrees', answers),
    ...followed(answers),
  };
}

function union(parts: readonly (readonly Selector[])[]): readonly Selector[] {
  // Parts that are sorted already are merged in no time.
  const all = parts.flat().sort();
  return all.filter((one, n) => one !== all[n - 1]);
}

/** What one says anew stands beside what the others have said. */
function followed(answers: readonly Evidence[]): Pick<Evidence, 'follow'> {
  if (answers.every(({ follow }) => !follow)) return {};
  const parts = answers.map(({ selectors }) => selectors);
  return {
    follow(tell) {
      const stops = answers.map(({ follow }, n) =>
        follow?.((now) => {
          if (now instanceof IdentityError) return tell(now);
          if (now === parts[n]) return;
          parts[n] = now;
          tell(union(parts));
        }),
      );
      return () => {
        for (const stop of stops) stop?.();
      };
    },
  };
}

/** Nothing when nobody has anything to ask: then nobody needs to. */
function together(name: 'holds' | 'agrees', answers: readonly Evidence[]): Partial<Evidence> {
  const checks = answers.flatMap(({ [name]: check }) => (check ? [check] : []));
  return checks.length === 0 ? {} : { [name]: () => checks.every((check) => check()) };
}
