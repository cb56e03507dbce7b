import { findPath, rootFault, type PathSources } from './ca-path.ts';
import { fingerprint, rootOf, type CaEntry, type CaState, type RootEntry } from './ca-state.ts';
import { Fault } from './journal-fields.ts';
import { parseTrustDomain } from '../identity/spiffe-id.ts';

/** What cannot be so, however it came about; undefined when the journal can be continued with. */
export function consistencyFault(state: CaState): string | undefined {
  const { roots, issuing } = state;
  const prints = roots.map((root) => fingerprint(root.certificate));
  if (new Set(prints).size < prints.length) return 'a root appears twice';
  const inSlot = (list: readonly (RootEntry | CaEntry)[], slot: string) =>
    list.filter((one) => one.state === slot).length;
  if (inSlot(issuing, 'active') > 1) return 'two issuing CAs are active';
  if (inSlot(issuing, 'prepared') > 1) return 'two issuing CAs are prepared';
  if (inSlot(roots, 'active') > 1) return 'two roots are active';
  if (
    inSlot(
      roots.filter((root) => root.key),
      'prepared',
    ) > 1
  ) {
    return 'two roots of this node are prepared';
  }
  return [...roots, ...issuing].map(lifeFault).find(Boolean) ?? pathFault(state);
}

function lifeFault({ state, tainted, revoked }: RootEntry | CaEntry): string | undefined {
  if (tainted && state !== 'old') return `one that is tainted is ${state}`;
  return revoked && !tainted ? 'one is revoked and not tainted' : undefined;
}

/** Each CA hangs on its root: what a start would sign with is what it would hand out the root of. */
function pathFault(state: CaState): string | undefined {
  const trustDomain = parseTrustDomain(state.trustDomain);
  try {
    for (const { certificate } of state.roots) {
      const fault = rootFault(certificate);
      if (fault !== undefined) return `the root ${certificate.subjectText}: ${fault}`;
    }
    for (const ca of state.issuing) {
      const [issuing, ...between] = ca.chain;
      const root = rootOf(state, ca);
      if (!root) return `the root of the issuing CA ${issuing.subjectText} is missing`;
      if (root.revoked && !ca.revoked) return 'a CA below a revoked root is not revoked';
      const roots = [root.certificate];
      const { chain } = findPath({ issuing, between, roots }, SOURCES, { trustDomain });
      if (chain.length !== ca.chain.length) return 'an issuing CA has its root in its chain';
    }
  } catch (thrown) {
    if (thrown instanceof Error) return thrown.message;
    throw thrown;
  }
  return undefined;
}

const SOURCES: PathSources = {
  chain: 'an issuing CA',
  roots: 'its root',
  refused: (source, why) => new Fault(`${source} cannot be used: ${why}`),
};
