import type { PeerConnection } from './attestation/attestation.ts';
import type { Registry } from 'prom-client';
import { openAudit, type Audit } from './audit/audit.ts';
import type { WriteText } from './audit/file-sink.ts';
import { createAuditMetrics, type AuditMetrics } from './audit/metrics.ts';
import type { Config } from './config.ts';
import type { Clock } from './core/clock.ts';
import { toIdentityError } from './core/errors.ts';
import type { Logger } from './core/log.ts';
import { VERSION } from './core/version.ts';
import type { Caller } from './identity/caller.ts';
import type { X509Svid } from './identity/svid.ts';
import type { CaSigned } from './issuer/authority.ts';
import type { KeyType } from './issuer/key-type.ts';
import type { SvidIssuer, SvidRequest } from './rotation/minter.ts';

type Mint = SvidIssuer['mint'];

/** Stands between the parts and sees to it that what they sign and refuse is recorded. */
export interface Auditing {
  /** Mints as before; an SVID that cannot be recorded is thrown away, which is `ERR_DISK`. */
  signed(mint: Mint): Mint;
  /** Mints as before; a failure that somebody waits for is recorded. */
  failed(mint: Mint): Mint;
  /** Attests as before; a process that cannot be attested is recorded. */
  attested(connection: PeerConnection): PeerConnection;
  denied(caller: Caller, why: string, names: readonly string[]): void;
  /** A CA certificate that must not be used unless this returns. */
  caSigned(made: CaSigned): void;
  close(): void;
}

/** How records are written. */
export interface AuditWriters {
  /** Takes whole lines for the log: records that go there keep their bytes. */
  readonly writeLine?: (line: string) => void;
  /** Appends to the file of records: tests make it fail. */
  readonly writeAudit?: WriteText;
}

/** As many as a record holds; a peer may ask for thousands. */
const MAX_NAMES = 16;
const MAX_NAME_CHARS = 256;
/** More than an entry has any use for. */
const MAX_DNS_NAMES = 64;

/**
 * Opens the audit log that the configuration names; undefined when it names none. Throws `ERR_DISK`.
 */
export function openConfiguredAudit(
  { telemetry, nodeName, trustDomain }: Config,
  deps: AuditWriters & {
    readonly clock: Clock;
    readonly log: Logger;
    readonly metrics: () => AuditMetrics;
  },
): Audit | undefined {
  if (telemetry.auditLogPath === undefined) return undefined;
  return openAudit(telemetry.auditLogPath, {
    ...{ clock: deps.clock, log: deps.log, writeLine: deps.writeLine },
    metrics: deps.metrics(),
    writer: { version: VERSION, node: nodeName, trust_domain: trustDomain },
    write: deps.writeAudit,
  });
}

/** The same for the daemon, with its metrics. */
export function openAuditing(
  config: Config,
  registry: Registry,
  deps: AuditWriters & { readonly clock: Clock; readonly log: Logger },
): Auditing | undefined {
  const audit = openConfiguredAudit(config, {
    ...deps,
    metrics: () => createAuditMetrics(registry),
  });
  return audit && createAuditing(audit, config.issuer.keyType);
}

export function createAuditing(audit: Audit, keyType: KeyType): Auditing {
  /** Errors that tell of a record which was not written: no other record would be. */
  const unrecorded = new WeakSet();
  return {
    signed: (mint) => async (request, options) => {
      const svid = await mint(request, options);
      const { recipient } = options;
      try {
        const entry = recipient?.sourceOf(request.id);
        audit.record('x509_svid', svidFields(svid, request, { entry, keyType }), recipient?.caller);
      } catch (thrown) {
        svid.key.wipe();
        const error = toIdentityError(thrown);
        unrecorded.add(error);
        throw error;
      }
      return svid;
    },
    failed: (mint) => async (request, options) => {
      try {
        return await mint(request, options);
      } catch (thrown) {
        const { recipient, signal } = options;
        const error = toIdentityError(thrown, 'ERR_ISSUER');
        const isRefusal = !signal.aborted && error.code !== 'ERR_SHUTDOWN';
        if (recipient && isRefusal && !unrecorded.has(error)) {
          const { code, message } = error;
          const entry = recipient.sourceOf(request.id);
          const fields = { code, reason: cut(message), spiffe_id: request.id, entry };
          audit.refuse('mint_failed', fields, recipient.caller);
        }
        throw thrown;
      }
    },
    attested: (connection) => ({
      ...connection,
      async caller(options) {
        try {
          return await connection.caller(options);
        } catch (thrown) {
          const { code, message } = toIdentityError(thrown, 'ERR_ATTESTATION');
          if (code !== 'ERR_SHUTDOWN' && !options.signal.aborted) {
            const fields = { code, reason: cut(message) };
            audit.refuse('attestation_failed', fields, connection.credentials);
          }
          throw thrown;
        }
      },
    }),
    denied(caller, why, names) {
      const left = names.length - MAX_NAMES;
      const shown = names.slice(0, MAX_NAMES).map(cut);
      const fields = { code: why, names: shown, ...(left > 0 ? { names_left_out: left } : {}) };
      audit.refuse('denied', fields, caller);
    },
    caSigned({
      kind,
      serial,
      subject,
      keyId,
      issuerKeyId,
      notBeforeMs,
      notAfterMs,
      keyType: type,
    }) {
      audit.record('ca_signed', {
        ...{ kind, subject, serial, ...times({ notBeforeMs, notAfterMs }), key_type: type },
        ...{ ca: keyId, authority: issuerKeyId },
      });
    },
    close: () => audit.close(),
  };
}

function svidFields(
  svid: X509Svid,
  { dnsNames }: SvidRequest,
  { entry, keyType }: { entry: string | undefined; keyType: KeyType },
) {
  const left = dnsNames.length - MAX_DNS_NAMES;
  return {
    spiffe_id: svid.id,
    serial: svid.serial,
    ...times(svid),
    dns_names: left > 0 ? dnsNames.slice(0, MAX_DNS_NAMES) : dnsNames,
    ...(left > 0 ? { dns_names_left_out: left } : {}),
    key_type: keyType,
    entry,
    authority: svid.authorityId,
  };
}

const times = (life: { readonly notBeforeMs: number; readonly notAfterMs: number }) => ({
  not_before: new Date(life.notBeforeMs).toISOString(),
  not_after: new Date(life.notAfterMs).toISOString(),
});

const cut = (text: string) =>
  text.length <= MAX_NAME_CHARS ? text : `${text.slice(0, MAX_NAME_CHARS - 3)}...`;
