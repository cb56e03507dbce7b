import { errorText, IdentityError } from '../core/errors.ts';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { describe } from '../issuer/authority.ts';
import { readCertificate } from '../identity/certificate.ts';
import { parseUpstream, type UpstreamCa } from '../issuer/upstream-ca.ts';
import { readUpstreamFiles, type UpstreamFiles } from '../issuer/upstream-files.ts';
import type { SigningRoots } from './roots.ts';
import type { StateStore } from './secret-store.ts';
import type { SignerState } from './signer-state.ts';

export interface FileRootsConfig {
  readonly trustDomain: TrustDomain;
  readonly files: UpstreamFiles;
  /** How long the roots of another CA are published before it signs. */
  readonly newRootDelayMs: number;
}

export interface FileRootsDeps {
  readonly store: StateStore;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Files are read anew when they are asked for, not more often than this. */
const READ_MS = 10_000;

/**
 * A CA from files that signs those of the nodes, below a root elsewhere. Files that are no good
 * leave the one before in place. Throws `ERR_KEY_STORE` when they are so at the start.
 */
export function openFileRoots(config: FileRootsConfig, deps: FileRootsDeps): SigningRoots {
  const { store, clock, log } = deps;
  let state: SignerState | undefined;
  let signing = read();
  /** Another one, which waits until nodes know its roots; and since when. */
  let next: { readonly ca: UpstreamCa; readonly sinceMs: number } | undefined;
  let readAtMs = clock.monotonic();
  let said = '';

  function read(): UpstreamCa {
    const { files, trustDomain } = config;
    const ca = parseUpstream(readUpstreamFiles(files), files, { trustDomain, nowMs: clock.now() });
    for (const [below, { der, subjectText }] of ca.authority.chain.entries()) {
      const { pathLength } = readCertificate(der);
      // A node's CA is below it (RFC 5280 4.2.1.9).
      if (pathLength !== undefined && pathLength < below + 1) {
        const why = `${subjectText}: its path length is ${pathLength}, but CAs of nodes are below it`;
        throw new IdentityError('ERR_KEY_STORE', `cannot use ${files.certFile}: ${why}`);
      }
    }
    return ca;
  }

  function look(): void {
    const nowMs = clock.monotonic();
    if (nowMs - readAtMs < READ_MS) return;
    readAtMs = nowMs;
    try {
      const ca = read();
      said = '';
      if (isSame(ca, signing)) next = undefined;
      else if (!next || !isSame(ca, next.ca)) next = { ca, sinceMs: nowMs };
    } catch (thrown) {
      const reason = errorText(thrown);
      if (reason !== said)
        log.error({ reason }, 'the files of the CA are no good, the last ones go on');
      said = reason;
    }
    const isKnown = next && hasRootsOf(signing, next.ca);
    if (!next || (!isKnown && nowMs - next.sinceMs < config.newRootDelayMs)) return;
    signing = next.ca;
    next = undefined;
    log.info(describe(signing.authority.certificate), 'this CA from files signs now');
  }

  return {
    async fresh(options) {
      look();
      return (state = (await store.read(options)).state);
    },
    current: () => state,
    authority: () => Promise.resolve(signing.authority),
    published({ revision }) {
      look();
      const roots = [...signing.roots, ...(next?.ca.roots ?? [])].map(({ der }) => der);
      return { revision, roots: dedupe(roots), names: new Set(), left: [] };
    },
  };
}

const isSame = (one: UpstreamCa, other: UpstreamCa) =>
  one.authority.certificate.der.equals(other.authority.certificate.der) &&
  one.roots.length === other.roots.length &&
  hasRootsOf(one, other);

const hasRootsOf = (one: UpstreamCa, other: UpstreamCa) =>
  other.roots.every(({ der }) => one.roots.some((root) => root.der.equals(der)));

const dedupe = (roots: readonly Buffer[]) =>
  roots.filter((der, n) => roots.findIndex((other) => other.equals(der)) === n);
