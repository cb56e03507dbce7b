import { IdentityError } from '../core/errors.ts';
import { isRevocationReason, REVOCATION_REASONS } from '../identity/revocation-reason.ts';
import { parseSerial } from '../identity/serial.ts';
import { spiffeIdFault } from '../identity/spiffe-id.ts';
import { askAdminJson } from './admin-client.ts';
import { textOf, type Action, type Given } from './command.ts';
import { EXIT } from './exit.ts';
import { adminSocket } from './sockets.ts';

/** What the daemon answers, as far as it is shown. */
interface Revoked {
  readonly revoked: readonly {
    readonly serial: string;
    readonly spiffe_id: string | null;
    readonly not_after: string;
  }[];
  readonly unknown_serial: boolean;
  readonly may_be_incomplete: boolean;
  readonly crls_next_update: string | null;
}

/** A token that signs several CRLs takes its time. */
const TIMEOUT_MS = 60_000;

/** `credence revoke`: one certificate, or all that live of an identity. */
export const revoke: Action = async (given, _operands, terminal) => {
  const query = queryOf(given);
  const socket = await adminSocket(given, terminal);
  const { clock, signal } = terminal;
  const asked = { clock, signal, method: 'POST', timeoutMs: TIMEOUT_MS } as const;
  const document = await askAdminJson(socket, `/ca/svids/revoke?${query.toString()}`, asked);
  if (given['json'] === true) {
    terminal.out(`${JSON.stringify(document, undefined, 2)}\n`);
    return EXIT.done;
  }
  const { lines, notes } = textOfRevoked(document);
  for (const line of lines) terminal.out(`${line}\n`);
  for (const note of notes) terminal.err(`note: ${note}\n`);
  return EXIT.done;
};

function queryOf(given: Given): URLSearchParams {
  const serial = textOf(given, 'serial');
  const id = textOf(given, 'spiffe-id');
  const reason = textOf(given, 'reason') ?? 'unspecified';
  if ((serial === undefined) === (id === undefined)) {
    throw new IdentityError('ERR_USAGE', 'one of --serial and --spiffe-id is needed');
  }
  if (!isRevocationReason(reason)) {
    const known = Object.keys(REVOCATION_REASONS).join(', ');
    throw new IdentityError('ERR_USAGE', `--reason is "${reason}", expected one of ${known}`);
  }
  const fault = id === undefined ? undefined : spiffeIdFault(id);
  if (fault !== undefined) throw new IdentityError('ERR_USAGE', `--spiffe-id: ${fault}`);
  return new URLSearchParams({
    ...(serial === undefined ? { spiffe_id: id ?? '' } : { serial: serialOf(serial) }),
    reason,
  });
}

function serialOf(text: string): string {
  try {
    return parseSerial(text);
  } catch (thrown) {
    throw new IdentityError('ERR_USAGE', '--serial: expected hex, as in 4f0a or 4F:0A', {
      cause: thrown,
    });
  }
}

function textOfRevoked(document: unknown): { lines: string[]; notes: string[] } {
  try {
    const { revoked, ...more } = document as Revoked;
    // One that several CAs list is still one.
    const bySerial = new Map(revoked.map((one) => [one.serial, one]));
    const lines = Array.from(bySerial.values(), ({ serial, spiffe_id: id, not_after: end }) =>
      id === null
        ? `revoked ${serial}, listed until ${end}`
        : `revoked ${serial} of ${id}, which ends at ${end}`,
    );
    const notes: string[] = [];
    if (more.unknown_serial) {
      notes.push(
        'nothing is known of this serial number: every CA that may have signed it lists it',
      );
    }
    if (more.may_be_incomplete) {
      notes.push(
        'SVIDs from before the daemon started may be unknown to it: revoke them by --serial, or all of their CA with credence ca taint',
      );
    }
    return { lines, notes };
  } catch (thrown) {
    throw new IdentityError('ERR_UNREACHABLE', 'the daemon answered something else', {
      cause: thrown,
    });
  }
}
