import { readFileSync } from 'node:fs';
import type { Clock } from '../core/clock.ts';
import { errorText, IdentityError } from '../core/errors.ts';

/** Where an API server or a kubelet is and how it is talked to. */
export interface ApiAccess {
  readonly host: string;
  readonly port: number;
  /** `tls` unless told; the others are for a kubelet whose operator wants no better. */
  readonly transport?: Transport;
  /** Name that its certificate has to be of; `host` unless told. */
  readonly serverName?: string;
  /** PEM of what its certificate is verified with. */
  ca(): string;
  /** Bearer token; never to be written anywhere. */
  token(): string;
  /** Reads both anew at the next use: the server did not know the token. */
  refresh(): void;
}

/**
 * `unverified-tls` believes any certificate, and shows whoever has one the token. `plain` shows no
 * token: everybody could read it.
 */
export type Transport = 'tls' | 'unverified-tls' | 'plain';

/** Tokens are replaced on disk well before they end, and the CA now and then. */
const KEEP_MS = 60_000;

export interface AccessFiles {
  readonly host: string;
  readonly port: number;
  readonly ca: string;
  readonly token: string;
  readonly transport?: Transport;
  readonly serverName?: string;
}

/** Access with a CA and a token that others replace on disk, as the kubelet does for a pod. */
export function fromFiles(
  { ca, token, ...where }: AccessFiles,
  clock: Pick<Clock, 'monotonic'>,
): ApiAccess {
  const caFile = createKeptFile(ca, clock);
  const tokenFile = createKeptFile(token, clock);
  return {
    ...where,
    ca: caFile.read,
    token: () => tokenFile.read().trim(),
    refresh() {
      caFile.forget();
      tokenFile.forget();
    },
  };
}

function createKeptFile(path: string, clock: Pick<Clock, 'monotonic'>) {
  let kept: { text: string; atMs: number } | undefined;
  return {
    read: (): string => {
      const now = clock.monotonic();
      if (kept && now - kept.atMs < KEEP_MS) return kept.text;
      try {
        kept = { text: readFileSync(path, 'utf8'), atMs: now };
      } catch (thrown) {
        throw new IdentityError('ERR_ATTESTATION', `cannot read ${path}: ${errorText(thrown)}`);
      }
      return kept.text;
    },
    forget: () => void (kept = undefined),
  };
}
