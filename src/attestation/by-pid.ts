import { IdentityError, toIdentityError } from '../core/errors.ts';
import type { PeerCredentials } from '../identity/caller.ts';
import type { Selector } from '../identity/selector.ts';
import { gatherEvidence, type Attestor } from './attestor.ts';
import type { Kernel } from './kernel.ts';
import { identifyPid, type Peer } from './peer.ts';

/** What a process would be attested as, were it to connect now. */
export interface ProcessDescription {
  /** Its effective user and group. */
  readonly credentials: PeerCredentials;
  /** Sorted, without duplicates. */
  readonly selectors: readonly Selector[];
  /** When it began, in clock ticks since the system did: tells two processes of one pid apart. */
  readonly startTicks: number;
}

/** Sees the process before it is attested; it is closed afterwards. */
export type Look = (peer: Peer) => void;

/**
 * Looks at the process that has this pid now, for an operator's question; nothing is kept. Rejects
 * with `ERR_PEER_GONE` when there is none or it ends meanwhile, else as attesting a peer does.
 */
export async function describeProcess(
  pid: number,
  { kernel, attestors }: { readonly kernel: Kernel; readonly attestors: readonly Attestor[] },
  { look, ...options }: { readonly signal: AbortSignal; readonly look?: Look | undefined },
): Promise<ProcessDescription> {
  const identified = identifyPid(pid, kernel);
  if (identified.kind !== 'peer') {
    throw new IdentityError('ERR_PEER_GONE', `there is no process with pid ${pid}`);
  }
  const { peer } = identified;
  try {
    const startTicks = peer.startTicks();
    look?.(peer);
    const { selectors, holds } = await gatherEvidence(attestors, peer, options);
    if (peer.hasExited()) throw hasEnded(pid);
    // Throws when it changed its user or group meanwhile: the selectors may be of either.
    peer.status();
    if (holds && !holds()) {
      throw new IdentityError('ERR_ATTESTATION', 'the process changed while it was looked at');
    }
    return { credentials: peer.credentials, selectors, startTicks };
  } catch (thrown) {
    throw endedMeanwhile(thrown, peer);
  } finally {
    peer.close();
  }
}

function endedMeanwhile(thrown: unknown, peer: Peer): IdentityError {
  return peer.hasExited()
    ? hasEnded(peer.credentials.pid)
    : toIdentityError(thrown, 'ERR_ATTESTATION');
}

function hasEnded(pid: number): IdentityError {
  return new IdentityError('ERR_PEER_GONE', `the process with pid ${pid} has ended`);
}
