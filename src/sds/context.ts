import type { Clock } from '../core/clock.ts';
import type { IdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Caller, PeerCredentials } from '../identity/caller.ts';
import type { Admission } from './admission.ts';
import type { BundleGauge } from './bundle-gauge.ts';
import type { DenialReason, SdsMetrics } from './metrics.ts';
import type { AliasNames } from './names.ts';
import type { Refusals } from './refusals.ts';
import type { IdentitySource } from './resolve.ts';
import type { SecretEncoder } from './resources.ts';

/** The process behind a connection; the listener, as SDS sees it. */
export interface Connection {
  readonly id: string;
  readonly credentials: PeerCredentials;
  caller(options: { signal: AbortSignal }): Promise<Caller>;
}

/** Somebody who is told when what it reads may have changed. */
export interface SdsReader {
  refresh(): void;
  gone(reason: IdentityError): void;
}

/** Access to a process's identities while a stream is open. */
export interface SdsSource extends IdentitySource {
  readonly caller: Caller;
  close(): void;
}

/** The settings of `sds.*`, durations in milliseconds. */
export interface SdsConfig {
  readonly aliases: AliasNames;
  /** Bundles in the form of Envoy's SPIFFE validator, unless a proxy says otherwise. */
  readonly spiffeCertValidation: boolean;
  /** How long attestation and first SVIDs are waited for since one of them last came. */
  readonly pendingTimeoutMs: number;
  /** How long a name that was refused before is waited for; 0: not at all. */
  readonly deniedParkMs: number;
}

/** Names that one process is refused for one reason. */
export type OnDenied = (caller: Caller, why: DenialReason, names: readonly string[]) => void;

/** What all streams share. */
export interface SdsContext {
  readonly config: SdsConfig;
  readonly attach: (caller: Caller, reader: SdsReader) => SdsSource;
  readonly encoder: SecretEncoder;
  readonly refusals: Refusals;
  readonly bundleGauge: BundleGauge;
  readonly admission: Admission;
  /**
   * Runs `look`, which is much work when there are many names, when it is the peer's turn; it answers
   * false when there was nothing left to do.
   */
  readonly inTurn: (peer: PeerCredentials, look: () => boolean) => void;
  /** Names that one stream may watch. */
  readonly namesPerStream: number;
  readonly clock: Clock;
  readonly metrics: SdsMetrics;
  /** Told of names that a process is refused, each time. */
  readonly onDenied?: OnDenied | undefined;
  readonly log: Logger;
  /** Aborted when the server drains; one for all, since each costs as much as an attestation. */
  readonly closing: AbortSignal;
  /** A nonce that no other response of this process carries. */
  readonly nextNonce: () => string;
}
