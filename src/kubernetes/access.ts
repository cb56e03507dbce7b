import { readFileSync } from 'node:fs';
import type { Clock } from '../core/clock.ts';
import { errorText, IdentityError } from '../core/errors.ts';

/** Where the API server is and how it is talked to. */
export interface ApiAccess {
  readonly host: string;
  readonly port: number;
  /** PEM of what its certificate is verified with. */
  ca(): string;
  /** Bearer token; never to be written anywhere. */
  token(): string;
  /** Reads both anew at the next use: the server did not know the token. */
  refresh(): void;
}

/** Tokens are replaced on disk well before they end, and the CA now and then. */
const KEEP_MS = 60_000;

export interface AccessFiles {
  readonly host: string;
  readonly port: number;
  readonly ca: string;
  readonly token: string;
}

/** Access with a CA and a token that others replace on disk, as the kubelet does for a pod. */
export function fromFiles(
  { host, port, ca, token }: AccessFiles,
  clock: Pick<Clock, 'monotonic'>,
): ApiAccess {
  const caFile = createKeptFile(ca, clock);
  const tokenFile = createKeptFile(token, clock);
  return {
    host,
    port,
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
