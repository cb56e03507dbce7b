import { closeSync, openSync, readSync } from 'node:fs';
import { errorText, IdentityError } from '../core/errors.ts';
import { trustDomainFault } from '../identity/spiffe-id.ts';
import { askAdminJson } from './admin-client.ts';
import { textOf, type Action, type Given } from './command.ts';
import { EXIT } from './exit.ts';
import { adminSocket } from './sockets.ts';

/** As much as the daemon takes. */
const MAX_BYTES = 262_144;

/** `credence bundle set`: a bundle of another trust domain, kept by the daemon. */
export const bundleSet: Action = async (given, _operands, terminal) => {
  const trustDomain = trustDomainOf(given);
  const file = textOf(given, 'file');
  if (file === undefined) throw usage('bundle set needs --file FILE');
  const format = textOf(given, 'format');
  if (format !== undefined && format !== 'pem' && format !== 'spiffe') {
    throw usage(`--format is "${format}", expected pem or spiffe`);
  }
  const query = new URLSearchParams({
    trust_domain: trustDomain,
    ...(format !== undefined && { format }),
  });
  const body = readText(file);
  const socket = await adminSocket(given, terminal);
  const { clock, signal } = terminal;
  const asked = { clock, signal, method: 'POST', body } as const;
  await askAdminJson(socket, `/bundles/set?${query.toString()}`, asked);
  terminal.out(`the bundle of ${trustDomain} is set\n`);
  return EXIT.done;
};

/** `credence bundle delete`: the daemon forgets one that was set. */
export const bundleDelete: Action = async (given, _operands, terminal) => {
  const trustDomain = trustDomainOf(given);
  const query = new URLSearchParams({ trust_domain: trustDomain });
  const socket = await adminSocket(given, terminal);
  const { clock, signal } = terminal;
  const asked = { clock, signal, method: 'POST' } as const;
  await askAdminJson(socket, `/bundles/delete?${query.toString()}`, asked);
  terminal.out(`the bundle of ${trustDomain} is deleted\n`);
  return EXIT.done;
};

function trustDomainOf(given: Given): string {
  const trustDomain = textOf(given, 'trust-domain');
  if (trustDomain === undefined) throw usage('--trust-domain TD says whose bundle it is');
  const fault = trustDomainFault(trustDomain);
  if (fault !== undefined) throw usage(`--trust-domain: ${fault}`);
  return trustDomain;
}

/** Also of a pipe, as /dev/stdin is one. */
function readText(path: string): string {
  let fd;
  try {
    fd = openSync(path, 'r');
    const bytes = Buffer.alloc(MAX_BYTES + 1);
    let size = 0;
    for (let more = 1; more > 0 && size < bytes.length; size += more) {
      more = readSync(fd, bytes, size, bytes.length - size, null);
    }
    if (size > MAX_BYTES) throw usage(`${path} is larger than ${MAX_BYTES} bytes`);
    return bytes.toString('utf8', 0, size);
  } catch (thrown) {
    if (thrown instanceof IdentityError) throw thrown;
    throw usage(`cannot read ${path}: ${errorText(thrown)}`);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function usage(message: string): IdentityError {
  return new IdentityError('ERR_USAGE', message);
}
